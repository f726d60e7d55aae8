"""People's votes vary with the prompts and with who votes: both are resampled."""

from __future__ import annotations

import numpy as np

from epigone.compare.intervals import FloatArray, IntArray

__all__ = ["RATE_OF_CHOICE", "two_way_rates"]

RATE_OF_CHOICE: dict[str, tuple[float, float, float]] = {
    "equal_or_better": (0.0, 1.0, 1.0),
    "win_rate": (0.0, 0.5, 1.0),
    "tie_share": (0.0, 1.0, 0.0),
}
"""What the majority's choice (teacher, tie, student) counts for in each rate."""


def two_way_rates(votes: FloatArray, worth: FloatArray, item_counts: IntArray, rater_counts: IntArray) -> FloatArray:
    """A rate (R,) of the majority votes when items and raters are resampled together (Owen 2007, "pigeonhole").

    Args:
        votes: (n, K), 0, 1 or 2 for teacher, tie, student; NaN where rater k did not vote on item i.
        worth: (3,), what each majority counts for.
        item_counts: (R, n), how often each item is in a resample.
        rater_counts: (R, K), how often each rater is; an item whose raters are all absent is absent.

    A resampled majority rests on fewer different raters and ties more often than the real one, which would shift the
    whole distribution; so the caller centres it on the estimate and uses its spread.
    """
    tallies = np.stack([(votes == code).astype(float) @ rater_counts.T for code in range(3)])  # (3, n, R)
    best = tallies.max(axis=0)
    shared = (tallies == best).sum(axis=0) > 1
    values = np.where(shared, worth[1], worth[tallies.argmax(axis=0)])  # (n, R)
    weights = item_counts.T * (best > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rates: FloatArray = (weights * values).sum(axis=0) / weights.sum(axis=0)
    return rates
