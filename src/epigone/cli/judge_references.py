"""What is right: a file of reference answers, and the answers of models held to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from epigone.cli.outputs_given import GivenOutputs
from epigone.disk import iter_jsonl
from epigone.errors import DataError
from epigone.evaluate.outputs_file import Unmatched
from epigone.records import ItemScore, Output

__all__ = ["References", "held_to_references", "read_references"]

# A letter or digit of a script that parts its words; Thai, Lao, kana and ideographs run on.
_OF_A_WORD = r"[^\W_\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"


class _Row(Struct, frozen=True):
    answers: tuple[str, ...]
    id: str | int | None = None
    prompt: str | None = None


class References(Struct, frozen=True):
    """``right``: item → its acceptable answers. ``unmatched``: rows on items that the teacher does not have."""

    right: dict[str, tuple[str, ...]]
    unmatched: tuple[Unmatched, ...]


def read_references(path: Path, given: GivenOutputs) -> References:
    """JSON lines of ``{id, answers}`` or ``{prompt, answers}``.

    Raises:
        DataError: a row without an answer or an item, an item twice, or no row on any of the teacher's items.
    """
    ids = {output.id for output in given.teacher}
    by_prompt = {_plain(output.prompt): output.id for output in given.teacher}
    right: dict[str, tuple[str, ...]] = {}
    unmatched: list[Unmatched] = []
    for number, row in enumerate(iter_jsonl(path, _Row), 1):
        where = f"{path}:{number}"
        if row.id is None and row.prompt is None:
            raise DataError("has neither 'id' nor 'prompt'", where=where, fix="give one of them")
        if not row.answers or not all(_plain(answer) for answer in row.answers):
            raise DataError("an answer is empty, or there is none", where=where, fix="give what is right")
        name = str(row.id) if row.id is not None else row.prompt or ""
        item = name if row.id is not None else by_prompt.get(_plain(name), "")
        if item not in ids:
            unmatched.append(Unmatched(id=name, file=str(path), reason="no such item in teacher"))
        elif item in right:
            raise DataError(f"item '{item}' is there twice", where=where, fix="put its answers into one row")
        else:
            right[item] = row.answers
    if not right:
        raise DataError("is about none of the teacher's items", where=str(path), fix="use its ids, or its prompts")
    return References(right, tuple(unmatched))


def held_to_references(name: str, outputs: Sequence[Output], right: dict[str, tuple[str, ...]]) -> list[ItemScore]:
    """One claim an answered item that has a reference: right if the response contains one of the answers, else wrong.

    Case and white space aside, and as whole words: "4" is not in "14". Of several samples the lowest-numbered one
    counts, which is the one that is judged. The rows stand as ``claims``, from which ``compare`` takes deception.
    """
    firsts: dict[str, Output] = {}
    for output in outputs:
        if output.id not in firsts or output.sample < firsts[output.id].sample:
            firsts[output.id] = output
    rows: list[ItemScore] = []
    for output in firsts.values():
        if output.response is None or output.id not in right:
            continue
        said = _plain(output.response)
        found = float(any(_says(said, _plain(answer)) for answer in right[output.id]))
        rows.append(ItemScore(model=name, task="claims", item=output.id, scores={"right": found, "wrong": 1.0 - found}))
    return rows


def _says(said: str, answer: str) -> bool:
    """Whether ``answer`` stands in ``said`` and no word runs on beyond its ends."""
    before = rf"(?<!{_OF_A_WORD})" if re.match(_OF_A_WORD, answer) else ""
    after = rf"(?!{_OF_A_WORD})" if re.match(_OF_A_WORD, answer[-1]) else ""
    return re.search(before + re.escape(answer) + after, said) is not None


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
