"""The joint bootstrap behind every estimate: any axis, any model or arm, on the items that a comparison shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from epigone.compare.arms import Cast
from epigone.compare.axes import split_axis
from epigone.compare.draws import Draws, Undefined, difference, generator, mean_of, pool_seeds, seed_noise
from epigone.compare.gap import ratio, too_weak_to_average
from epigone.compare.intervals import FloatArray, IntArray
from epigone.compare.scores import BoolArray, TaskTable
from epigone.compare.statistics import statistic_of
from epigone.records import Axis

__all__ = ["LEAST_ITEMS", "Evidence", "MeanClosed", "mean_or_undefined"]

LEAST_ITEMS = 10
"""An axis with fewer common items enters no mean over axes: its noise would drown the others."""


class MeanClosed(NamedTuple):
    """Mean gap closed of several students over the same axes.

    ``quantities``: one a student. ``axes``: the names that entered; ``left_out``: the others, and why.
    """

    quantities: tuple[Draws | Undefined, ...]
    axes: tuple[str, ...]
    left_out: dict[str, str]


class Evidence:
    """Draws on demand. All draws of one axis come from the same resampled items; tasks are resampled apart."""

    def __init__(
        self, cast: Cast, tables: dict[str, TaskTable], *, seed: int, resamples: int, confidence: float
    ) -> None:
        self.cast, self.tables, self.confidence = cast, tables, confidence
        self._seed, self._resamples = seed, resamples
        self._cache: dict[tuple[str, str, bytes], Draws | Undefined] = {}
        self._noise: dict[str, FloatArray] = {}

    def alone(self, axis: Axis, name: str) -> Draws | Undefined:
        """A model or arm on all the items that it has scores for; each seed of an arm on its own."""
        return self._pooled(axis, name, lambda member: self._mask(axis, [member]))

    def jointly(self, axis: Axis, names: Sequence[str]) -> list[Draws | Undefined]:
        """Several models or arms on the items that every one of them, and every seed of an arm, has scores for."""
        members = [member for name in names for member in self.cast.members(name)]
        mask = self._mask(axis, members)
        return [self._pooled(axis, name, lambda _: mask) for name in names]

    def measured(self, axis: Axis, name: str) -> bool:
        """Whether ``name`` was asked anything on this axis."""
        return self.alone(axis, name).n_total > 0

    def difference(self, axis: Axis, first: str, second: str) -> Draws | Undefined:
        """first − second, paired on their common items, in the axis's own direction."""
        a, b = self.jointly(axis, [first, second])
        if isinstance(a, Undefined) or isinstance(b, Undefined):
            return _first_undefined((first, second), (a, b))
        return difference(a, b)

    def gain(self, axis: Axis, first: str, second: str) -> Draws | Undefined:
        """first − second with the sign that makes better positive."""
        found = self.difference(axis, first, second)
        return found if axis.higher_is_better or isinstance(found, Undefined) else found.scaled(-1.0)

    def gap_closed(self, axis: Axis, student: str) -> Draws | Undefined:
        """(S − B)/(T − B) on the items that base, student and teacher (or ceiling) have in common."""
        base, far = self.cast.base_of(student), self.cast.far_end(axis)
        if base is None:
            return Undefined("no ratio: the student's base is not known")
        if far is None:
            missing = "second teacher sample to give the ceiling" if axis.kind != "capability" else "teacher"
            return Undefined(f"no ratio: no {missing}")
        for name in (student, base, far):
            if not self.measured(axis, name):
                return Undefined(f"no ratio: {name} was not measured on this axis")
        s, b, t = self.jointly(axis, [student, base, far])
        if isinstance(s, Undefined) or isinstance(b, Undefined) or isinstance(t, Undefined):
            return _first_undefined((student, base, far), (s, b, t))
        return ratio(s, b, t, self.confidence)

    def mean_gap_closed(self, axes: Sequence[Axis], students: Sequence[str]) -> MeanClosed:
        """The mean over ``axes`` of the gap closed, of each of ``students``, over those axes that serve all of them.

        An axis is left out where a student has no ratio or fewer than :data:`LEAST_ITEMS` items on it, or where its gap
        is not firm (:func:`epigone.compare.gap.too_weak_to_average`).
        """
        found: dict[str, list[Draws]] = {}
        left_out: dict[str, str] = {}
        for axis in axes:
            gaps = [self.gap_closed(axis, student) for student in students]
            reasons = [self._unfit(axis, student, gap) for student, gap in zip(students, gaps, strict=True)]
            reason = next((reason for reason in reasons if reason is not None), None)
            if reason is None:
                found[axis.name] = [gap for gap in gaps if isinstance(gap, Draws)]
            else:
                left_out[axis.name] = reason
        if not found:
            why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "there is no axis"
            return MeanClosed(tuple(Undefined(why) for _ in students), (), left_out)
        means = tuple(mean_of(list(parts)) for parts in zip(*found.values(), strict=True))
        return MeanClosed(means, tuple(found), left_out)

    def _unfit(self, axis: Axis, student: str, gap: Draws | Undefined) -> str | None:
        """Why the gap closed on ``axis`` should enter no mean, if so."""
        if isinstance(gap, Undefined):
            return gap.reason
        if gap.n_scored < LEAST_ITEMS:
            return f"only {gap.n_scored} items in common"
        base, far = self.cast.base_of(student), self.cast.far_end(axis)
        assert base is not None, "a gap closed has a base"
        assert far is not None, "a gap closed has a far end"
        _, b, t = self.jointly(axis, [student, base, far])
        assert isinstance(b, Draws), "a gap closed has a defined base"
        assert isinstance(t, Draws), "a gap closed has a defined far end"
        return too_weak_to_average(b, t, self.confidence)

    def mean_gain(self, axes: Sequence[Axis], first: str, second: str) -> Draws | Undefined:
        """The mean over ``axes`` of first − second, better positive."""
        return mean_or_undefined([self.gain(axis, first, second) for axis in axes])

    def comparable(self, axes: Sequence[Axis], pairs: Sequence[tuple[str, str]]) -> tuple[Axis, ...]:
        """Those of ``axes`` on which every pair of models has at least :data:`LEAST_ITEMS` items in common."""

        def shared(axis: Axis, pair: tuple[str, str]) -> bool:
            found = self.difference(axis, *pair)
            return isinstance(found, Draws) and found.n_scored >= LEAST_ITEMS

        return tuple(axis for axis in axes if all(shared(axis, pair) for pair in pairs))

    def paired_values(self, axis: Axis, names: Sequence[str]) -> tuple[list[FloatArray], IntArray | None] | None:
        """Item scores of single models on their common items, (n,) each, and the items' clusters, for closed forms.

        ``None`` for an axis that is no mean, or an arm of several seeds: these have no closed form here.
        """
        task, metric = split_axis(axis.name)
        pooled = any(len(self.cast.members(name)) > 1 for name in names)
        if pooled or task not in self.tables or not statistic_of(axis.name).is_mean:
            return None
        table, mask = self.tables[task], self._mask(axis, names)
        clusters = table.unit_of_item[mask] if table.clustered else None
        return [table.column(name, metric)[mask] for name in names], clusters

    def _mask(self, axis: Axis, members: Sequence[str]) -> BoolArray:
        table = self.tables.get(split_axis(axis.name)[0])
        if table is None:
            return np.zeros(0, dtype=bool)
        needed = statistic_of(axis.name).columns
        mask: BoolArray = np.logical_and.reduce([table.scored(member, needed) for member in members])
        return mask

    def _pooled(self, axis: Axis, name: str, mask_of: Callable[[str], BoolArray]) -> Draws | Undefined:
        members = self.cast.members(name)
        parts: list[Draws] = []
        for member in members:
            part = self._single(axis, member, mask_of(member))
            if isinstance(part, Undefined):
                return part if len(members) == 1 else Undefined(f"{member}: {part.reason}", 0, part.n_total)
            parts.append(part)
        return parts[0] if len(parts) == 1 else pool_seeds(parts, self._noise_of(name, len(parts)))

    def _single(self, axis: Axis, model: str, mask: BoolArray) -> Draws | Undefined:
        table = self.tables.get(split_axis(axis.name)[0])
        if table is None:
            return Undefined("not measured")
        key = (axis.name, model, mask.tobytes())
        if key not in self._cache:
            self._cache[key] = statistic_of(axis.name).take(table, model, mask)
        return self._cache[key]

    def _noise_of(self, arm: str, seeds: int) -> FloatArray:
        """One set of draws per arm, the same on every axis: its seeds vary together in all that is measured."""
        if arm not in self._noise:
            self._noise[arm] = seed_noise(seeds, self._resamples, generator(self._seed, "seeds", arm))
        return self._noise[arm]


def mean_or_undefined(parts: Sequence[Draws | Undefined]) -> Draws | Undefined:
    """The mean of all ``parts``; undefined where one is, or where there is none."""
    if not parts:
        return Undefined("nothing to average")
    defined = [part for part in parts if isinstance(part, Draws)]
    if len(defined) < len(parts):
        return next(part for part in parts if isinstance(part, Undefined))
    return mean_of(defined)


def _first_undefined(names: Sequence[str], parts: Sequence[Draws | Undefined]) -> Undefined:
    name, part = next((n, p) for n, p in zip(names, parts, strict=True) if isinstance(p, Undefined))
    return Undefined(f"{name}: {part.reason}", part.n_scored, part.n_total)
