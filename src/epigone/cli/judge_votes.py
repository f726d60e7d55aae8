"""Votes that a command was given: of the given models and teacher, on the given items, each once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from epigone.cli.outputs_given import GivenOutputs
from epigone.disk import read_jsonl
from epigone.errors import DataError
from epigone.records import Vote

__all__ = ["read_votes"]


def read_votes(paths: Sequence[Path], given: GivenOutputs, *, items: Collection[str] | None = None) -> list[Vote]:
    """Votes of files; ``items``: the only ones that may be voted on, ``None``: any.

    Raises:
        DataError: a vote on another model or item, against another teacher, or given twice: none may be lost, or count
            twice, in silence.
    """
    models = {model.info.name for model in given.others}
    seen: dict[tuple[str, ...], str] = {}
    found: list[Vote] = []
    for path in paths:
        for number, vote in enumerate(read_jsonl(path, Vote), 1):
            where = f"{path}:{number}"
            if vote.student not in models or (items is not None and vote.item not in items):
                what = f"a vote on '{vote.student}', item '{vote.item}', which the outputs files do not have"
                fix = f"name the student's file so: --student {vote.student}=FILE, and use the same ids"
                raise DataError(what, where=where, fix=fix)
            if vote.teacher != given.teacher_name:
                what = f"a vote on '{vote.student}' against '{vote.teacher}', not against '{given.teacher_name}'"
                fix = f"if they are one model, name the teacher's file so: --teacher {vote.teacher}=FILE"
                raise DataError(what, where=where, fix=fix)
            earlier = seen.setdefault((vote.kind, vote.voter, vote.student, vote.item, vote.first or ""), where)
            if earlier != where:
                what = f"'{vote.voter}' votes on '{vote.student}', item '{vote.item}' again, after {earlier}"
                raise DataError(what, where=where, fix="keep one of the two votes")
            found.append(vote)
    return found
