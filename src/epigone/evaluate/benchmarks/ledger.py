"""Scored items on disk, so that a measurement that was stopped goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from epigone.disk import read_json, write_json
from epigone.errors import SpecError
from epigone.evaluate.benchmarks.items_file import read_items, write_items
from epigone.models.protocol import Progress
from epigone.records import ItemScore

__all__ = ["Ledger"]

# How many items are asked for at once. A kill loses about as much as is kept already, and never more than the longest.
FIRST_PART, LONGEST_PART = 32, 512


class Ledger:
    """``items.parquet`` and ``evaluation.json`` of a folder. Without a folder it remembers nothing.

    Args:
        folder: where they are; ``None``: nowhere.
        asker: what all rows of the folder share: ``model``, ``chat``, ``seed``.
        tasks: what is asked now, by task, for the reader of the results. Rows of a task whose ``scoring`` was another
            are scored again.

    Raises:
        SpecError: the folder holds results of another asker, or something else under a task's name.
    """

    def __init__(self, folder: Path | None, asker: Mapping[str, Any], tasks: Mapping[str, dict[str, Any]]) -> None:
        self._folder = folder
        self._tasks = dict(tasks)
        self._asker = dict(asker)
        self._rows: dict[tuple[str, str], ItemScore] = {}
        self._rescored: set[str] = set()
        if folder is None:
            return
        described, items = folder / "evaluation.json", folder / "items.parquet"
        if items.is_file() and described.is_file():
            before = read_json(described, dict[str, Any])
            _refuse_other_results(before, self._asker, self._tasks, where=str(folder))
            earlier = before.get("tasks", {})
            self._rows = {(row.task, row.item): row for row in read_items(items)}
            self._rescored = {name for name in tasks if earlier.get(name, {}).get("scoring") != tasks[name]["scoring"]}
            self._tasks = earlier | self._tasks
        self._describe()

    def complete(
        self,
        task: str,
        digests: Mapping[str, str],
        score: Callable[[Sequence[str], Progress], list[ItemScore]],
        *,
        problems: Mapping[str, int],
        progress: Progress | None = None,
    ) -> list[ItemScore]:
        """A row for each item of ``digests``, in its order: those that are here, and the others from ``score``.

        Args:
            digests: item -> prompt digest. A row that was asked otherwise, or has no answer, is asked for again.
            score: gives rows for some of the items; told how to report its own progress.
            problems: why requests failed, filled by ``score``; written beside the results.
            progress: told of this task's items.
        """
        kept = {item: row for item, digest in digests.items() if (row := self._find(task, item, digest))}
        pending = [item for item in digests if item not in kept]
        for part in _parts(pending) if self._folder else [pending] if pending else []:

            def report(made: int, whole: int | None, before: int = len(kept), size: int = len(part)) -> None:
                if progress:
                    progress(before + (size * made // whole if whole else 0), len(digests))

            rows = score(part, report)
            kept |= {row.item: row for row in rows}
            self._add(task, rows, problems)
        if progress:
            progress(len(digests), len(digests))
        return [kept[item] for item in digests]

    def _find(self, task: str, item: str, digest: str) -> ItemScore | None:
        row = None if task in self._rescored else self._rows.get((task, item))
        return row if row is not None and row.status == "ok" and row.prompt_digest == digest else None

    def _add(self, task: str, rows: Sequence[ItemScore], problems: Mapping[str, int]) -> None:
        """Keep rows, whole file at a time: it is never half written."""
        self._rows |= {(row.task, row.item): row for row in rows}
        if self._folder is not None:
            write_items(self._folder / "items.parquet", self._rows.values())
            if problems:
                self._tasks[task]["problems"] = dict(problems)
                self._describe()

    def _describe(self) -> None:
        if self._folder is not None:
            write_json(self._folder / "evaluation.json", self._asker | {"tasks": self._tasks})


def _refuse_other_results(
    before: Mapping[str, Any], asker: Mapping[str, Any], tasks: Mapping[str, dict[str, Any]], *, where: str
) -> None:
    for key, value in asker.items():
        if before.get(key) != value:
            found = f"the folder holds results with {key} = {before.get(key)!r}, not {value!r}"
            raise SpecError(found, where=where, fix="choose another folder, or remove this one")
    for name in set(tasks) & set(before.get("tasks", {})):
        kinds = before["tasks"][name].get("kind"), tasks[name]["kind"]
        if kinds[0] != kinds[1]:
            found = f"the folder holds something else under the name '{name}' ({kinds[0]}, not {kinds[1]})"
            raise SpecError(found, where=where, fix="give one of them another 'name'")


def _parts(items: Sequence[str]) -> Iterator[Sequence[str]]:
    start, size = 0, FIRST_PART
    while start < len(items):
        yield items[start : start + size]
        start, size = start + size, min(2 * size, LONGEST_PART)
