"""The outputs files that a command was given: named, matched to the teacher's items, what does not match listed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from msgspec import Struct, structs

from epigone.errors import DataError, SpecError
from epigone.evaluate.outputs_file import Unmatched, match_outputs, read_outputs
from epigone.records import ModelInfo, Output

__all__ = ["GivenModel", "GivenOutputs", "draw_items", "read_given"]

OtherRole = Literal["base", "student", "teacher_second_sample"]
_LEAST_SECOND_SAMPLES = 10  # items; as many as an axis needs to enter a mean over axes


class GivenModel(Struct, frozen=True):
    """A model's outputs under the teacher's item ids."""

    info: ModelInfo
    outputs: tuple[Output, ...]


class GivenOutputs(Struct, frozen=True, kw_only=True):
    """All files of one command. ``teacher`` holds first samples only; ``items``: how many distinct items it has."""

    teacher_name: str
    teacher: tuple[Output, ...]
    others: tuple[GivenModel, ...]
    unmatched: tuple[Unmatched, ...]

    @property
    def items(self) -> int:
        """Distinct items of the teacher."""
        return len({output.id for output in self.teacher})

    def of_role(self, role: str) -> tuple[GivenModel, ...]:
        """The models of one role, in the order given."""
        return tuple(model for model in self.others if model.info.role == role)


def read_given(
    teacher: str, students: Sequence[str], *, base: str | None = None, second_teacher: str | None = None
) -> GivenOutputs:
    """Read ``FILE`` or ``NAME=FILE`` arguments; a file without a name goes by the model its rows name, or its stem.

    Where no second teacher file is given and the teacher's own file holds several samples, its second samples serve;
    a stray few among many items (a prompt that happens to stand twice) are no ceiling and are listed instead.

    Raises:
        DataError: a file cannot be read, or has one id for two prompts.
        SpecError: two files go by one name, or one has nothing in common with the teacher's.
    """
    unmatched: list[Unmatched] = []
    teacher_name, rows = _read_named(teacher)
    firsts = [output for output in rows if output.sample == _lowest_sample(rows)[output.id]]
    asked: list[tuple[OtherRole, str, list[Output]]] = []
    if second_teacher is not None:
        name, outputs = _read_named(second_teacher)
        asked.append(("teacher_second_sample", f"{teacher_name}#2" if name == teacher_name else name, outputs))
    else:
        further = _second_samples(rows)
        if len(further) >= min(_LEAST_SECOND_SAMPLES, len(firsts)):
            asked.append(("teacher_second_sample", f"{teacher_name}#2", further))
        else:
            reason = f"answered twice, as are too few items to be a ceiling ({len(further)} of {len(firsts)})"
            unmatched += [Unmatched(id=output.id, file=teacher_name, reason=reason) for output in further]
    if base is not None:
        asked.append(("base", *_read_named(base)))
    asked += [("student", *_read_named(student)) for student in students]
    _refuse_same_names([teacher_name, *(name for _, name, _ in asked)])
    base_name = next((name for role, name, _ in asked if role == "base"), None)
    others: list[GivenModel] = []
    for role, name, outputs in asked:
        matched = match_outputs(firsts, outputs, other_name=name)
        if not matched.other:
            fix = "give two files with the same prompts or ids"
            raise SpecError(f"has no item in common with {teacher_name}", where=name, fix=fix)
        is_student = role == "student"
        info = ModelInfo(
            name=name,
            role=role,
            base=base_name if is_student else None,
            data=name if is_student else None,
            data_kind="broad" if is_student else None,
        )
        others.append(GivenModel(info, matched.other))
        unmatched += matched.unmatched
    return GivenOutputs(
        teacher_name=teacher_name, teacher=tuple(firsts), others=tuple(others), unmatched=tuple(unmatched)
    )


def draw_items(given: GivenOutputs, items: int | None, *, seed: int) -> GivenOutputs:
    """So many of the teacher's items, drawn by ``seed``, with everybody's outputs on them; ``None``: all.

    A larger draw holds every smaller one of the same seed, so that what was judged in a trial is not paid again.
    """
    if items is None:
        return given
    ids = sorted({output.id for output in given.teacher})
    drawn = {ids[place] for place in np.random.default_rng(seed).permutation(len(ids))[:items]}
    return structs.replace(
        given,
        teacher=tuple(output for output in given.teacher if output.id in drawn),
        others=tuple(
            GivenModel(model.info, tuple(output for output in model.outputs if output.id in drawn))
            for model in given.others
        ),
    )


def _read_named(argument: str) -> tuple[str, list[Output]]:
    name, equals, path = argument.partition("=")
    if not equals or Path(argument).exists():
        name, path = "", argument
    outputs = read_outputs(Path(path))
    _refuse_ids_of_two_prompts(path, outputs)
    models = {output.model for output in outputs} - {""}
    return name or (models.pop() if len(models) == 1 else "") or Path(path).stem, outputs


def _refuse_ids_of_two_prompts(path: str, outputs: Sequence[Output]) -> None:
    """Samples of one item answer one prompt; an id that stands for two is numbered wrongly."""
    prompts: dict[str, str] = {}
    for output in outputs:
        prompt = " ".join(output.prompt.split())
        if prompt and prompts.setdefault(output.id, prompt) != prompt:
            raise DataError(f"id '{output.id}' stands for two prompts", where=path, fix="give each prompt its own id")


def _lowest_sample(outputs: Sequence[Output]) -> dict[str, int]:
    lowest: dict[str, int] = {}
    for output in outputs:
        lowest[output.id] = min(output.sample, lowest.get(output.id, output.sample))
    return lowest


def _second_samples(outputs: Sequence[Output]) -> list[Output]:
    """The lowest-numbered sample after the first of each item that has one."""
    lowest = _lowest_sample(outputs)
    later = [output for output in outputs if output.sample > lowest[output.id]]
    second = _lowest_sample(later)
    return [output for output in later if output.sample == second[output.id]]


def _refuse_same_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(
            f"two files go by the name '{twice[0]}'", fix=f"name one of them: other-name=path/to/{twice[0]}.json"
        )
