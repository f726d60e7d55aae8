"""Item scores as arrays: one table a task, models × items, and the bootstrap draws of any axis from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epigone.compare.draws import Draws, generator, resample_counts
from epigone.compare.intervals import FloatArray, IntArray
from epigone.errors import DataError
from epigone.records import ItemScore

__all__ = ["BoolArray", "TaskTable", "read_tables"]

BLOCK_CELLS = 4_000_000  # resample counts become floats this many at a time (32 MB)

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TaskTable:
    """The scores of one task; its n items are sorted by id, so that the order of the rows is of no consequence.

    ``columns[model, metric]`` (n,): NaN where there is no such score. ``asked[model]`` (n,): whether there is a row.
    ``unit_of_item`` (n,) indexes the C independent units: clusters, or the items themselves where none are named.
    ``counts`` (R, C): how often each unit occurs in each resample; one set for all models, so all draws are joint.
    ``seed`` is for what else has to be drawn (raters).
    """

    items: tuple[str, ...]
    columns: dict[tuple[str, str], FloatArray]
    asked: dict[str, BoolArray]
    unit_of_item: IntArray
    counts: npt.NDArray[np.uint16]
    seed: int

    @property
    def clustered(self) -> bool:
        """Whether several items share a unit."""
        return bool(self.counts.shape[1] < len(self.items))

    def column(self, model: str, metric: str) -> FloatArray:
        """Scores (n,) of ``model``, NaN where missing."""
        found = self.columns.get((model, metric))
        return found if found is not None else np.full(len(self.items), np.nan)

    def scored(self, model: str, metrics: Sequence[str]) -> BoolArray:
        """Which items (n,) have all of ``metrics`` for ``model``."""
        mask = np.ones(len(self.items), dtype=bool)
        for metric in metrics:
            mask &= ~np.isnan(self.column(model, metric))
        return mask

    def n_total(self, model: str) -> int:
        """How many items ``model`` was asked."""
        return int(self.asked[model].sum()) if model in self.asked else 0

    def from_sums(
        self, model: str, mask: BoolArray, features: FloatArray, of_sums: Callable[[FloatArray], FloatArray]
    ) -> Draws:
        """A statistic that is a function of sums over items: ``of_sums`` takes (R, k) to (R,), NaN where undefined.

        ``features`` (n, k) are 0 outside ``mask`` (n,). The sums of a resample are its counts times the features.
        """
        units = self.counts.shape[1]
        by_unit: FloatArray = features
        present: FloatArray = mask.astype(np.float64)
        if self.clustered:
            by_unit = np.zeros((units, features.shape[1]))
            np.add.at(by_unit, self.unit_of_item, features)
            present = np.bincount(self.unit_of_item, weights=present, minlength=units).astype(np.float64)
        rows = max(1, BLOCK_CELLS // units)
        blocks = [self.counts[i : i + rows].astype(np.float64) @ by_unit for i in range(0, len(self.counts), rows)]
        value = float(of_sums(by_unit.sum(axis=0, keepdims=True))[0])
        return self._draws(model, mask, value, of_sums(np.concatenate(blocks)), int(np.count_nonzero(present)))

    def from_weights(self, model: str, mask: BoolArray, of_weights: Callable[[FloatArray], FloatArray]) -> Draws:
        """A statistic that has to be fitted: ``of_weights`` takes item weights (R, m) of the m masked items to (R,)."""
        chosen = self.unit_of_item[mask]
        value = float(of_weights(np.ones((1, len(chosen))))[0])
        rows = max(1, BLOCK_CELLS // max(1, len(chosen)))
        blocks = [
            of_weights(self.counts[i : i + rows][:, chosen].astype(np.float64))
            for i in range(0, len(self.counts), rows)
        ]
        return self._draws(model, mask, value, np.concatenate(blocks), len(np.unique(chosen)))

    def columns_of(self, model: str, prefix: str) -> FloatArray:
        """All columns (n, K) of ``model`` whose metric starts with ``prefix``, by name."""
        names = sorted(metric for owner, metric in self.columns if owner == model and metric.startswith(prefix))
        empty = np.zeros((len(self.items), 0))
        return np.stack([self.columns[model, name] for name in names], axis=1) if names else empty

    def _draws(self, model: str, mask: BoolArray, value: float, draws: FloatArray, units: int) -> Draws:
        # A resample without a single scored item (only where few are scored) repeats the estimate.
        safe = np.where(np.isnan(draws), value, draws)
        return Draws(value, safe, units, int(mask.sum()), self.n_total(model))


def read_tables(rows: Iterable[ItemScore], *, seed: int, resamples: int) -> dict[str, TaskTable]:
    """One :class:`TaskTable` a task. Several samples of an item (``sample`` 0, 1, …) are averaged, metric by metric.

    Raises:
        DataError: a row given twice; an item that stands in two clusters.
    """
    by_task: dict[str, list[ItemScore]] = defaultdict(list)
    for row in rows:
        by_task[row.task].append(row)
    return {task: _table(task, by_task[task], seed, resamples) for task in sorted(by_task)}


def _table(task: str, rows: list[ItemScore], seed: int, resamples: int) -> TaskTable:
    items = tuple(sorted({row.item for row in rows}))
    position = {item: index for index, item in enumerate(items)}
    unit_of_item = _units(task, rows, items)
    seen: set[tuple[str, str, int]] = set()
    sums: dict[tuple[str, str], FloatArray] = {}
    counts: dict[tuple[str, str], FloatArray] = {}
    asked: dict[str, BoolArray] = {}
    for row in sorted(rows, key=lambda row: (row.model, row.item, row.sample)):
        key = (row.model, row.item, row.sample)
        if key in seen:
            where = f"model '{row.model}', task '{task}', item '{row.item}', sample {row.sample}"
            raise DataError("scored twice", where=where, fix="keep one of the two rows")
        seen.add(key)
        index = position[row.item]
        asked.setdefault(row.model, np.zeros(len(items), dtype=bool))[index] = True
        for metric, value in row.scores.items():
            if not np.isfinite(value):
                where = f"model '{row.model}', task '{task}', item '{row.item}'"
                raise DataError(f"'{metric}' is {value}", where=where, fix="leave out a score that could not be taken")
            column = (row.model, metric)
            sums.setdefault(column, np.zeros(len(items)))[index] += value
            counts.setdefault(column, np.zeros(len(items)))[index] += 1
    columns = {key: np.where(counts[key] > 0, sums[key] / np.maximum(counts[key], 1), np.nan) for key in sums}
    drawn = resample_counts(int(unit_of_item.max()) + 1, resamples, generator(seed, "items", task))
    return TaskTable(items, columns, asked, unit_of_item, drawn.astype(np.uint16), seed)


def _units(task: str, rows: list[ItemScore], items: tuple[str, ...]) -> IntArray:
    """The index (n,) of the independent unit that each item belongs to: its cluster, or itself where it names none."""
    cluster: dict[str, str] = {}
    for row in rows:
        if row.cluster is not None and cluster.setdefault(row.item, row.cluster) != row.cluster:
            problem = f"in two clusters, '{cluster[row.item]}' and '{row.cluster}'"
            raise DataError(problem, where=f"task '{task}', item '{row.item}'", fix="give each item one cluster")
    names = [("cluster", cluster[item]) if item in cluster else ("item", item) for item in items]
    index = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([index[name] for name in names], dtype=np.int64)
