"""Two models on the same items: the paired difference and McNemar's test (Miller 2024; Dietterich 1998)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from epigone.compare.intervals import FloatArray, IntArray, Interval, mean_interval

__all__ = ["McNemar", "mcnemar", "paired_difference"]


def paired_difference(
    first: FloatArray, second: FloatArray, clusters: IntArray | None = None, confidence: float = 0.95
) -> Interval:
    """Mean of ``first − second`` (n,) with SE √(Var(first_i − second_i)/n), clustered where clusters are given."""
    return mean_interval(first - second, clusters, confidence)


class McNemar(NamedTuple):
    """Discordant pairs and the two-sided p-value; ``exact`` says which test gave it."""

    only_first: int
    only_second: int
    p_value: float
    exact: bool


def mcnemar(first: FloatArray, second: FloatArray, exact_below: int = 25) -> McNemar:
    """Are two models right on the same items equally often? ``first`` and ``second`` are 0/1, (n,).

    Fewer than ``exact_below`` discordant pairs: binomial test of a fair coin; otherwise χ² with continuity correction
    (|b − c| − 1)² / (b + c) on one degree of freedom.

    Raises:
        ValueError: a value other than 0 and 1.
    """
    if not np.isin(np.concatenate([first, second]), (0.0, 1.0)).all():
        raise ValueError("McNemar's test needs scores of 0 and 1")
    only_first = int(np.sum((first == 1) & (second == 0)))
    only_second = int(np.sum((first == 0) & (second == 1)))
    discordant = only_first + only_second
    if discordant < exact_below:
        p = float(stats.binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
        return McNemar(only_first, only_second, p, True)
    statistic = (abs(only_first - only_second) - 1) ** 2 / discordant
    return McNemar(only_first, only_second, float(stats.chi2.sf(statistic, 1)), False)
