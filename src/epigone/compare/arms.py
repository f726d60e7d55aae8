"""Who stands for what: bases by size, arms with their seeds pooled, teacher and ceiling."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from epigone.errors import DataError
from epigone.records import Axis, ModelInfo

__all__ = ["Arm", "Cast"]


@dataclass(frozen=True)
class Arm:
    """Students that differ in their seed only. ``info.name`` is the one model's name, or the pooled entry's."""

    info: ModelInfo
    members: tuple[str, ...]


class Cast:
    """The models of a study in their roles. Bases are ordered by parameters, arms by amount.

    Raises:
        DataError: two models of one name, several teachers, a student whose base is not there, an arm's seed twice.
    """

    def __init__(self, models: Sequence[ModelInfo]) -> None:
        by_name = {model.name: model for model in models}
        if len(by_name) < len(models):
            twice = sorted({model.name for model in models if sum(m.name == model.name for m in models) > 1})
            raise DataError("named twice", where=f"model '{twice[0]}'", fix="give every model a name of its own")
        self.models = tuple(models)
        self.teacher = self._only("teacher")
        self.ceiling = self._only("teacher_second_sample")
        order = {model.name: index for index, model in enumerate(models)}
        bases = [model for model in models if model.role == "base"]
        self.bases = tuple(sorted(bases, key=lambda base: (base.parameters or 0, order[base.name])))
        self.students = tuple(model for model in models if model.role == "student")
        self.arms = self._arms()
        self._members = {arm.info.name: arm.members for arm in self.arms}
        self._base = {arm.info.name: self._base_of(arm.info) for arm in self.arms}
        self._base |= {student.name: self._base_of(student) for student in self.students}

    def _only(self, role: str) -> str | None:
        found = [model.name for model in self.models if model.role == role]
        if len(found) > 1:
            raise DataError(f"several models have the role '{role}': {', '.join(found)}", fix="keep one")
        return found[0] if found else None

    def _base_of(self, student: ModelInfo) -> str | None:
        names = [base.name for base in self.bases]
        if student.base is None:
            return names[0] if len(names) == 1 else None
        if student.base not in names:
            fix = f"one of: {', '.join(names)}" if names else "add the base to the models"
            raise DataError(f"its base '{student.base}' is not among the models", where=student.name, fix=fix)
        return student.base

    def _arms(self) -> tuple[Arm, ...]:
        groups: dict[tuple[object, ...], list[ModelInfo]] = defaultdict(list)
        for student in self.students:
            own = student.data is None and student.amount_tokens is None
            arm = (student.base, student.data, student.amount_tokens, student.replay, student.name if own else "")
            groups[arm].append(student)
        return tuple(_arm(group) for group in groups.values())

    def members(self, name: str) -> tuple[str, ...]:
        """The measured models behind ``name``: an arm's seeds, or the model itself."""
        return self._members.get(name, (name,))

    def base_of(self, name: str) -> str | None:
        """The base of a student or arm; ``None`` where it is not known."""
        return self._base.get(name)

    def far_end(self, axis: Axis) -> str | None:
        """Where the gap on ``axis`` ends: the teacher; for style and preference the teacher's second sample."""
        return self.ceiling if axis.kind in ("style", "preference") else self.teacher

    def broad_arms(self, base: str) -> list[Arm]:
        """Arms of ``base`` on broad imitation data without replay, by amount; the last one is the largest."""
        return self._plain_arms(base, "broad")

    def local_arms(self, base: str) -> list[Arm]:
        """Per local data set the largest arm of ``base`` without replay, by the data's name."""
        largest = {arm.info.data or "": arm for arm in self._plain_arms(base, "local")}
        return [largest[data] for data in sorted(largest)]

    def _plain_arms(self, base: str, kind: str) -> list[Arm]:
        mine = [
            arm
            for arm in self.arms
            if self._base[arm.info.name] == base and arm.info.data_kind == kind and arm.info.replay == 0
        ]
        return sorted(mine, key=lambda arm: (arm.info.amount_tokens or 0, arm.info.name))

    def largest_broad_arms(self) -> list[Arm]:
        """The broad arms of the largest amount, the largest base first: the headline's models.

        Several where they are of one amount: two data sets, or students of whom no amount is known.
        """
        found = [self.broad_arms(base.name) for base in reversed(self.bases)]
        return [arm for arms in found for arm in arms if arm.info.amount_tokens == arms[-1].info.amount_tokens]


def _arm(group: list[ModelInfo]) -> Arm:
    group = sorted(group, key=lambda model: (model.seed if model.seed is not None else -1, model.name))
    if len(group) == 1:
        return Arm(group[0], (group[0].name,))
    seeds = [model.seed for model in group]
    if len(set(seeds)) < len(seeds):
        names = ", ".join(model.name for model in group)
        raise DataError("two models of one arm have the same seed", where=names, fix="give each its own seed")
    first = group[0]
    info = msgspec.structs.replace(
        first,
        name=_pooled_name(group),
        seed=None,
        pooled=tuple(model.name for model in group),
        trained_tokens=_agreed([model.trained_tokens for model in group]),
        supervised_tokens=_agreed([model.supervised_tokens for model in group]),
    )
    return Arm(info, tuple(model.name for model in group))


def _agreed(values: list[int | None]) -> int | None:
    return values[0] if len(set(values)) == 1 else None


def _pooled_name(group: list[ModelInfo]) -> str:
    """``base/broad-40k`` of ``base/broad-40k/s0``, …; where names have another form, built from the arm's settings."""
    stems = {model.name.removesuffix(f"/s{model.seed}") for model in group}
    if len(stems) == 1:
        return stems.pop()
    first = group[0]
    replay = f"-replay{first.replay:g}" if first.replay else ""
    return f"{first.base}/{first.data}-{first.amount_tokens}{replay}"
