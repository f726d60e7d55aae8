"""What an axis is, in terms of the columns of its task: most are the mean of one; the others stand here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from epigone.compare.agreement import CATEGORIES, Level, alpha_of_coincidences, coincidences
from epigone.compare.controlled import controlled_rate
from epigone.compare.draws import Draws, Undefined, generator, resample_counts
from epigone.compare.intervals import FloatArray
from epigone.compare.raters import RATE_OF_CHOICE, two_way_rates
from epigone.compare.scores import BoolArray, TaskTable

__all__ = [
    "CORRELATIONS",
    "LENGTH_FEATURE",
    "RATER",
    "STYLE_FEATURES",
    "VOTE_COUNTS",
    "Statistic",
    "correlation",
    "statistic_of",
]

CORRELATIONS: dict[str, tuple[str, str]] = {
    "style.length_correlation": ("length_tokens", "teacher_length_tokens"),
    "style.length_rank_correlation": ("length_rank", "teacher_length_rank"),
}
"""Axes that are Pearson's r between two metrics of the same task; of ranks it is Spearman's."""

VOTE_COUNTS = tuple(f"votes_{category}" for category in CATEGORIES)
"""Columns of a preference task: how many voters chose each, for Krippendorff's α."""

RATER = "rater:"
"""Prefix of the columns of a preference task that hold one person's votes: 0 teacher, 1 tie, 2 student."""

PEOPLE = "preference.person"

LENGTH_FEATURE = "characters_difference"
STYLE_FEATURES = ("relative_tokens", "relative_headers", "relative_list_items", "relative_bold")
"""Columns of a preference task that the controlled rates hold equal."""


class Statistic(NamedTuple):
    """``columns``: the metrics that an item must have to enter. ``is_mean``: the plain mean of the one column.

    ``what``: what was computed, for an estimate's ``method``.
    """

    columns: tuple[str, ...]
    take: Callable[[TaskTable, str, BoolArray], Draws | Undefined]
    what: str
    is_mean: bool = False


def statistic_of(axis: str) -> Statistic:
    """The statistic behind an axis name."""
    task, _, metric = axis.rpartition(".")
    if axis in CORRELATIONS:
        first, second = CORRELATIONS[axis]
        return Statistic(
            (first, second), lambda table, model, mask: correlation(table, model, mask, first, second), "r"
        )
    if task.startswith("preference."):
        if metric == "alpha_ordinal":
            return Statistic(
                VOTE_COUNTS,
                lambda table, model, mask: _alpha(table, model, mask, "ordinal"),
                "Krippendorff's α, ordinal",
            )
        if metric == "alpha_nominal":
            return Statistic(
                VOTE_COUNTS,
                lambda table, model, mask: _alpha(table, model, mask, "nominal"),
                "Krippendorff's α, nominal",
            )
        if metric == "length_controlled_win_rate":
            return _controlled((LENGTH_FEATURE,), length=True)
        if metric == "style_controlled_win_rate":
            return _controlled(STYLE_FEATURES, length=False)
    if task == PEOPLE and metric in RATE_OF_CHOICE:
        what = "majority of raters; items and raters resampled"
        return Statistic((metric,), lambda table, model, mask: _of_people(table, model, mask, metric), what)
    return Statistic((metric,), lambda table, model, mask: _mean(table, model, mask, metric), "mean", is_mean=True)


def _nothing(table: TaskTable, model: str, mask: BoolArray, least: int, to: str) -> Undefined | None:
    n = int(mask.sum())
    if n >= least:
        return None
    reason = "no item was scored" if n == 0 else f"{n} items are too few to {to}"
    return Undefined(reason, n, table.n_total(model))


def _mean(table: TaskTable, model: str, mask: BoolArray, metric: str) -> Draws | Undefined:
    missing = _nothing(table, model, mask, 1, "average")
    if missing:
        return missing
    values = np.where(mask, table.column(model, metric), 0.0)
    return table.from_sums(model, mask, np.stack([mask.astype(float), values], axis=1), _weighted_mean)


def _weighted_mean(sums: FloatArray) -> FloatArray:
    """(R, 2) of count and sum to the mean (R,); NaN for an empty resample."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: FloatArray = sums[:, 1] / sums[:, 0]
    return mean


def correlation(table: TaskTable, model: str, mask: BoolArray, first: str, second: str) -> Draws | Undefined:
    """Pearson's r of two columns over the masked items; undefined for fewer than 3, or where one is constant."""
    missing = _nothing(table, model, mask, 3, "correlate")
    if missing:
        return missing
    x, y = (np.where(mask, table.column(model, metric), 0.0) for metric in (first, second))
    x, y = (np.where(mask, v - v[mask].mean(), 0.0) for v in (x, y))  # centred: the sums below then cancel little
    if not x.any() or not y.any():
        return Undefined("no correlation: one of the two is constant", int(mask.sum()), table.n_total(model))
    features = np.stack([mask.astype(float), x, y, x * x, y * y, x * y], axis=1)
    return table.from_sums(model, mask, features, _pearson)


def _pearson(sums: FloatArray) -> FloatArray:
    """(R, 6) of count, Σx, Σy, Σx², Σy², Σxy to r (R,); NaN where a resample is constant."""
    n, x, y, xx, yy, xy = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = xy - x * y / n
        spread = np.sqrt(np.maximum(xx - x * x / n, 0.0) * np.maximum(yy - y * y / n, 0.0))
        r: FloatArray = np.where(spread > 0, covariance / spread, np.nan)
    return np.clip(r, -1.0, 1.0)


def _alpha(table: TaskTable, model: str, mask: BoolArray, level: Level) -> Draws | Undefined:
    counts = np.stack([np.where(mask, table.column(model, column), 0.0) for column in VOTE_COUNTS], axis=1)
    rated_twice = counts.sum(axis=1) > 1
    missing = _nothing(table, model, rated_twice, 2, "measure agreement")
    if missing:
        return missing
    pairable = coincidences(counts)
    size = len(CATEGORIES)
    if np.isnan(alpha_of_coincidences(pairable.sum(axis=0), level)):
        return Undefined("no α: all ratings are the same", int(rated_twice.sum()), table.n_total(model))
    return table.from_sums(
        model,
        rated_twice,
        pairable.reshape(len(counts), -1),
        lambda sums: alpha_of_coincidences(sums.reshape(-1, size, size), level),
    )


def _controlled(columns: tuple[str, ...], *, length: bool) -> Statistic:
    def take(table: TaskTable, model: str, mask: BoolArray) -> Draws | Undefined:
        missing = _nothing(table, model, mask, 10 * (len(columns) + 1), "fit a regression")
        if missing:
            return missing
        wins = table.column(model, "win_rate")[mask]
        features = np.stack([table.column(model, column)[mask] for column in columns], axis=1)
        return table.from_weights(model, mask, lambda weights: controlled_rate(wins, features, weights, length=length))

    return Statistic(
        ("win_rate", *columns),
        take,
        "logistic regression at equal length" if length else "logistic regression at equal style",
    )


def _of_people(table: TaskTable, model: str, mask: BoolArray, metric: str) -> Draws | Undefined:
    """The mean over items as it is; its draws with raters resampled too, where there are several."""
    alone = _mean(table, model, mask, metric)
    votes = np.where(mask[:, None], table.columns_of(model, RATER), np.nan)
    raters = votes.shape[1]
    if isinstance(alone, Undefined) or raters < 2:
        return alone
    rater_counts = resample_counts(raters, len(table.counts), generator(table.seed, "raters", model))
    item_counts = table.counts[:, table.unit_of_item].astype(np.int64)
    rates = two_way_rates(votes, np.array(RATE_OF_CHOICE[metric]), item_counts, rater_counts)
    rates = np.where(np.isnan(rates), alone.value, rates)
    return replace(alone, draws=rates - rates.mean() + alone.value)
