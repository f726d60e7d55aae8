"""Intervals of a single mean or share, in closed form.

Shares get Wilson's or the Beta interval, which hold at small n and near 0 and 1 (Bowyer 2025, arXiv 2503.01747);
means get a t interval whose standard error knows about clusters (Miller 2024, arXiv 2411.00640, §2.2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = ["FloatArray", "IntArray", "Interval", "beta_interval", "clustered_se", "mean_interval", "wilson"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Interval(NamedTuple):
    """``low`` and ``high`` are ``None`` where the data cannot give an interval: one item, one cluster, or items that
    all say the same, which leaves their spread unknown, not 0.
    """

    value: float
    low: float | None
    high: float | None


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share (Wilson 1927): the shares p with |p̂ − p| ≤ z √(p(1−p)/n).

    Raises:
        ValueError: n < 1, or successes outside 0…n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} is no share")
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return Interval(share, 0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)


def beta_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Equal-tailed interval of Beta(k + 1, n − k + 1), the posterior of a share under a uniform prior (Bowyer 2025).

    Raises:
        ValueError: n < 1, or successes outside 0…n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} is no share")
    tail = (1 - confidence) / 2
    posterior = stats.beta(successes + 1, n - successes + 1)
    return Interval(successes / n, float(posterior.ppf(tail)), float(posterior.isf(tail)))


def clustered_se(values: FloatArray, clusters: IntArray | None = None) -> float | None:
    """Standard error of the mean of ``values`` (n,), items of one cluster (n,) being dependent.

    Without clusters √(s²/n), s² with n − 1. With C clusters: √(C/(C−1) · Σ_c (Σ_{i∈c} (x_i − x̄))²) / n, which is
    Miller's SE² + n⁻² Σ_c Σ_{i≠j∈c} (x_i − x̄)(x_j − x̄) with the same small-sample factor as the plain formula.
    ``None`` where fewer than two independent units leave it unknown (never 0).
    """
    n = len(values)
    if clusters is None:
        return float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
    _, index = np.unique(clusters, return_inverse=True)
    count = int(index.max()) + 1 if n else 0
    if count < 2:
        return None
    residuals = np.bincount(index, weights=values - values.mean(), minlength=count)
    return float(np.sqrt(count / (count - 1) * np.sum(residuals**2)) / n)


def mean_interval(values: FloatArray, clusters: IntArray | None = None, confidence: float = 0.95) -> Interval:
    """Mean of ``values`` (n,) with a t interval of (units − 1) degrees of freedom; units are clusters, else items.

    Raises:
        ValueError: no values.
    """
    if len(values) == 0:
        raise ValueError("the mean of no values")
    mean = float(np.mean(values))
    se = clustered_se(values, clusters)
    if se is None or se <= 1e-12 * max(1.0, abs(mean)):
        return Interval(mean, None, None)
    units = len(values) if clusters is None else len(np.unique(clusters))
    half = float(stats.t.ppf(0.5 + confidence / 2, units - 1)) * se
    return Interval(mean, mean - half, mean + half)
