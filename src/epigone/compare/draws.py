"""An estimate with its bootstrap distribution, and arithmetic on such estimates.

All draws of one comparison come from the same resamples, draw r of every model standing for the same resampled items.
So the difference, mean or ratio of two estimates is taken draw by draw, and keeps their covariance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from epigone.compare.intervals import FloatArray, IntArray, Interval

__all__ = [
    "Draws",
    "Undefined",
    "combine",
    "difference",
    "generator",
    "mean_of",
    "pool_seeds",
    "resample_counts",
    "seed_noise",
]


@dataclass(frozen=True)
class Draws:
    """``value`` on the data; ``draws`` (R,) on the resamples. ``units``: independent units (items or clusters) that
    were resampled, which sets how far small samples widen the interval. Of ``n_total`` items ``n_scored`` entered.
    ``by_items`` (R,): the draws with the training seeds held fixed, and ``seed_values`` (K,): the value seed by seed,
    where an arm has several; so both variances can be told.
    """

    value: float
    draws: FloatArray
    units: int
    n_scored: int
    n_total: int
    by_items: FloatArray | None = None
    seed_values: FloatArray | None = None

    @property
    def spread_unknown(self) -> bool:
        """A single unit, or items that all say the same: the resamples cannot tell how far off the value is."""
        return self.units < 2 or float(np.ptp(self.draws)) <= 1e-12 * max(1.0, abs(self.value))

    def interval(self, confidence: float) -> Interval:
        """Percentile interval at levels widened for small samples (Hesterberg 2015, "expanded percentile").

        The percentile interval of a mean is about z √((n−1)/n) s/√n wide, where t s/√n is right; the levels become
        Φ(∓ √(n/(n−1)) t_{n−1}). No interval where the spread is unknown: it is not 0.
        """
        if self.spread_unknown:
            return Interval(self.value, None, None)
        t = float(stats.t.ppf(0.5 + confidence / 2, self.units - 1))
        tail = float(stats.norm.sf(t * np.sqrt(self.units / (self.units - 1))))
        low, high = np.quantile(self.draws, [tail, 1 - tail])
        return Interval(self.value, float(low), float(high))

    def p_not_above(self, threshold: float) -> float:
        """One-sided bootstrap p-value of "the quantity is ≤ threshold": ≥ 1/(R + 1); 1 if the spread is unknown."""
        if self.spread_unknown:
            return 1.0
        return float((1 + np.sum(self.draws <= threshold)) / (1 + len(self.draws)))

    def p_not_below(self, threshold: float) -> float:
        """One-sided bootstrap p-value of "the quantity is ≥ threshold": ≥ 1/(R + 1); 1 if the spread is unknown."""
        if self.spread_unknown:
            return 1.0
        return float((1 + np.sum(self.draws >= threshold)) / (1 + len(self.draws)))

    def scaled(self, factor: float) -> Draws:
        """``factor`` times this."""
        return combine([self], lambda x: factor * x)


@dataclass(frozen=True)
class Undefined:
    """A quantity that cannot be estimated, and why."""

    reason: str
    n_scored: int = 0
    n_total: int = 0


def combine(parts: Sequence[Draws], formula: Callable[..., Any]) -> Draws:
    """``formula`` of several estimates, draw by draw and seed by seed; the items counted are those of the first.

    ``formula`` takes one argument a part and works on numbers and on arrays alike.
    """
    lengths = {len(part.seed_values) for part in parts if part.seed_values is not None}
    by_seed = [part.value if part.seed_values is None else part.seed_values for part in parts]
    by_items = [part.draws if part.by_items is None else part.by_items for part in parts]
    return Draws(
        value=float(formula(*(part.value for part in parts))),
        draws=formula(*(part.draws for part in parts)),
        units=min(part.units for part in parts),
        n_scored=parts[0].n_scored,
        n_total=parts[0].n_total,
        by_items=formula(*by_items) if lengths else None,
        seed_values=formula(*by_seed) if len(lengths) == 1 else None,
    )


def difference(first: Draws, second: Draws) -> Draws:
    """first − second, draw by draw; its items are those of ``first`` (both were measured on the same)."""
    return combine([first, second], lambda x, y: x - y)


def mean_of(parts: Sequence[Draws]) -> Draws:
    """The unweighted mean of several estimates (axes, bases), draw by draw; their items are added up."""
    n_scored, n_total = (sum(counts) for counts in zip(*((p.n_scored, p.n_total) for p in parts), strict=True))
    return replace(combine(parts, lambda *x: sum(x) / len(x)), n_scored=n_scored, n_total=n_total)


def generator(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for each purpose: draws do not depend on what else was drawn, or in which order."""
    digest = hashlib.sha256("\x1f".join(names).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, dtype=np.uint32).tolist()])


def resample_counts(units: int, resamples: int, rng: np.random.Generator) -> IntArray:
    """How often each unit occurs in each resample of size ``units``: (resamples, units), rows sum to ``units``."""
    chosen = rng.integers(0, units, size=(resamples, units))
    flat = (chosen + np.arange(resamples)[:, None] * units).ravel()
    return np.bincount(flat, minlength=resamples * units).reshape(resamples, units)


def seed_noise(seeds: int, resamples: int, rng: np.random.Generator) -> FloatArray:
    """Weights (resamples, seeds), rows summing to 0, that turn K seeds' values x into draws of the error of their mean.

    Row · x is distributed as s/√K · t_{K−1} with s the standard deviation of x: with three seeds resampling the seeds
    themselves would understate the spread by a third and know nothing of the t distribution's tails.
    """
    z = rng.standard_normal((resamples, seeds))
    z -= z.mean(axis=1, keepdims=True)
    chi2 = rng.chisquare(seeds - 1, size=(resamples, 1))
    weights: FloatArray = z / np.sqrt(seeds * chi2)
    return weights


def pool_seeds(parts: Sequence[Draws], noise: FloatArray) -> Draws:
    """An arm's estimate from its K seeds: mean over seeds, item bootstrap nested in seeds.

    ``parts``: each seed's estimate on the same resampled items; ``noise`` (R, K) from :func:`seed_noise`. The spread
    between seeds that the choice of items explains (seed–item interaction, seen in the item bootstrap) is taken out of
    the seed part, so that it is not counted twice.
    """
    values = np.array([part.value for part in parts])
    by_item = np.stack([part.draws for part in parts], axis=1)  # (R, K)
    spread = float(np.var(values, ddof=1))
    interaction = float(np.mean(np.var(by_item - values, axis=1, ddof=1)))
    kept = np.sqrt(max(0.0, spread - interaction) / spread) if spread > 0 else 0.0
    return Draws(
        float(values.mean()),
        by_item.mean(axis=1) + kept * (noise @ values),
        min(part.units for part in parts),
        sum(part.n_scored for part in parts),
        sum(part.n_total for part in parts),
        by_items=by_item.mean(axis=1),
        seed_values=values,
    )
