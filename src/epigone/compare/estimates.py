"""Draws and intervals to the records that ``results.json`` holds."""

from __future__ import annotations

import numpy as np

from epigone.compare.draws import Draws, Undefined
from epigone.compare.intervals import FloatArray, Interval
from epigone.records import Estimate

__all__ = ["closed_form", "from_draws", "rounded"]


def rounded(value: float | None) -> float | None:
    """Ten significant digits: what is written must not depend on the last bits of a sum."""
    return None if value is None else float(f"{value:.10g}") + 0.0


def from_draws(
    quantity: Draws | Undefined, confidence: float, what: str, within: tuple[float, float] | None = None
) -> Estimate:
    """An estimate with its percentile interval, cut at the quantity's range ``within``; undefined: the reason."""
    if isinstance(quantity, Undefined):
        return Estimate(
            value=None,
            low=None,
            high=None,
            n_scored=quantity.n_scored,
            n_total=quantity.n_total,
            method=quantity.reason,
        )
    value, low, high = quantity.interval(confidence)
    low, high = _cut(low, high, within)
    method = f"{what}; percentile bootstrap {confidence:.0%}, {len(quantity.draws)} resamples"
    if low is None:
        method = f"{what}; no interval: {_no_interval(quantity.units)}"
    elif quantity.by_items is not None:
        method += f"; seeds nested: se over items {_standard_error(quantity.by_items):.3g}"
        if quantity.seed_values is not None:
            seeds = quantity.seed_values
            method += f", sd between {len(seeds)} seeds {np.std(seeds, ddof=1):.3g}"
    return Estimate(
        value=rounded(value),
        low=rounded(low),
        high=rounded(high),
        n_scored=quantity.n_scored,
        n_total=quantity.n_total,
        method=method,
    )


def _cut(
    low: float | None, high: float | None, within: tuple[float, float] | None
) -> tuple[float | None, float | None]:
    """An interval, as far as it lies within a quantity's range."""
    if within is None or low is None or high is None:
        return low, high
    return max(low, within[0]), min(high, within[1])


def _standard_error(draws: FloatArray) -> float:
    """Half the width of the central 68.3 % of draws (R,): their standard deviation where they are normal, and a number
    that one draw of a ratio with a gap near 0 cannot carry away."""
    low, high = np.quantile(draws, [0.158655, 0.841345])
    return float(high - low) / 2


def _no_interval(units: int) -> str:
    return "a single independent unit" if units < 2 else "all items say the same, so that their spread is unknown"


def closed_form(
    interval: Interval, draws: Draws, method: str, *, within: tuple[float, float] | None = None
) -> Estimate:
    """An estimate whose interval has a formula, cut at ``within``; ``draws``: the same quantity by the bootstrap."""
    if interval.low is None:
        method += f"; no interval: {_no_interval(draws.units)}"
    low, high = _cut(interval.low, interval.high, within)
    return Estimate(
        value=rounded(interval.value),
        low=rounded(low),
        high=rounded(high),
        n_scored=draws.n_scored,
        n_total=draws.n_total,
        method=method,
    )
