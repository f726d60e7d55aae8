"""Two answers to one prompt, ready to be judged: the student's and the teacher's."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from epigone.records import Output

__all__ = ["Pair", "first_samples", "make_pairs"]


class Pair(Struct, frozen=True, kw_only=True):
    """One item to vote on. A response is ``None`` where the model has none: such a pair is never shown, and its vote is
    ``failed``. ``student`` and ``teacher`` name the models."""

    item: str
    prompt: str
    student: str
    teacher: str
    student_response: str | None
    teacher_response: str | None


def make_pairs(
    teacher: Sequence[Output], student: Sequence[Output], *, student_name: str, teacher_name: str = "teacher"
) -> list[Pair]:
    """Pair each teacher item with the student's answer to it, by id; of several samples the first of each side.

    Items of ``teacher`` without an answer in ``student`` become pairs without a student's response, so that they are
    counted as missing; items that only ``student`` has are left out (``match_outputs`` lists them).
    """
    asked = first_samples(teacher)
    answered = first_samples(student)
    return [
        Pair(
            item=identity,
            prompt=output.prompt or (answered[identity].prompt if identity in answered else ""),
            student=student_name,
            teacher=teacher_name,
            student_response=answered[identity].response if identity in answered else None,
            teacher_response=output.response,
        )
        for identity, output in asked.items()
    ]


def first_samples(outputs: Sequence[Output]) -> dict[str, Output]:
    """Of several samples of an item the first, by item."""
    first: dict[str, Output] = {}
    for output in outputs:
        if output.id not in first or output.sample < first[output.id].sample:
            first[output.id] = output
    return first
