"""Items whose better answer is known: gold, attention checks, qualification; and when a rater gets one.

A sample row of the file that ``--gold`` takes (``kind`` is ``gold`` unless it says otherwise)::

    {"id": "g1", "prompt": "What is 2 + 2?", "better": "4.", "worse": "Bananas are yellow.", "kind": "attention"}
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from epigone.disk import read_jsonl
from epigone.errors import DataError

__all__ = ["CheckItem", "CheckKind", "checks_due", "draw", "read_checks", "tasks_with_checks"]

CheckKind = Literal["gold", "attention", "qualification"]


class CheckItem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pair of answers of which everybody who reads them knows the better one.

    ``gold``: needs judgement. ``attention``: needs only reading. ``qualification``: comes first and decides whether
    the rater goes on.
    """

    id: str
    prompt: str
    better: str
    worse: str
    kind: CheckKind = "gold"


def read_checks(path: Path) -> list[CheckItem]:
    """The check items of a JSON lines file.

    Raises:
        DataError: a row is not one, repeats an id, or its two answers are the same.
    """
    items = read_jsonl(path, CheckItem)
    seen: set[str] = set()
    for number, item in enumerate(items, 1):
        if item.id in seen:
            raise DataError(f"the id '{item.id}' is there twice", where=f"{path}:{number}", fix="give each its own")
        if not item.better.strip() or not item.worse.strip() or item.better.strip() == item.worse.strip():
            raise DataError(
                "needs two different answers", where=f"{path}:{number}", fix="write both 'better' and 'worse'"
            )
        seen.add(item.id)
    return items


def checks_due(served: int, every: int, salt: str) -> int:
    """How many checks of a kind a rater's first ``served`` + 1 tasks hold: one in ``every``, at a drawn place."""
    blocks, place = divmod(served, every)
    return blocks + (place >= draw(f"{salt}:{blocks}") % every)


def tasks_with_checks(served: int, pairs: int, kinds: Sequence[tuple[int, int, int, str]]) -> int:
    """How many tasks ``pairs`` more pairs will be, after ``served``, with the checks that come between them.

    Args:
        kinds: for each kind of check: one in how many, how many were shown, how many there are, salt.
    """
    ahead = pairs
    for _ in range(pairs + 1):  # checks push later pairs back, which may make room for another check
        checks = [
            min(checks_due(served + ahead - 1, every, salt), there) - shown for every, shown, there, salt in kinds
        ]
        longer = pairs + sum(max(0, count) for count in checks)
        if longer <= ahead:
            break
        ahead = longer
    return ahead


def draw(text: str) -> int:
    """A number in [0, 2⁶⁴) that only the text, with its secret salt, decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
