"""JSON values of any file size, one at a time: the elements of an array, or the lines of JSON lines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from msgspec import Struct

from epigone.errors import DataError

__all__ = ["Broken", "Cut", "json_values"]

CHUNK = 1 << 22
LARGEST_RECORD = 1 << 28
_SPACE = " \t\r\n"


class Broken(Struct, frozen=True):
    """A line that is no JSON value."""

    line: int
    problem: str


class Cut(Struct, frozen=True):
    """The file ends in the middle of a value: ``complete`` values came before it."""

    complete: int
    characters: int


def json_values(path: Path) -> Iterator[object]:
    """The values in ``path``, in order; a broken line comes as :class:`Broken`, a cut end as :class:`Cut`.

    A file that begins with ``[`` is one array, read in pieces; anything else is JSON lines. ``.gz`` is unpacked. Text
    is UTF-8; bytes that are not are replaced by U+FFFD. Memory is that of the largest record, not of the file.

    Raises:
        DataError: the file cannot be read, or an array holds something that is no JSON between its values.
    """
    try:
        with _open(path) as file:
            first = _first_character(file)
            if first == "[":
                yield from _ArrayReader(path, file).values()
            else:
                file.seek(0)
                yield from _lines(file)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path), fix="check the path") from error


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace")
    return open(path, encoding="utf-8-sig", errors="replace", newline="\n")


def _first_character(file: IO[str]) -> str:
    while True:
        character = file.read(1)
        if not character or character not in _SPACE:
            return character


def _lines(file: IO[str]) -> Iterator[object]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Broken(number, str(error))


class _ArrayReader:
    """Reads the array's elements from a growing window of text; the opening bracket is already behind it."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path, self.file = path, file
        self.window, self.at, self.passed, self.complete = "", 0, 1, 0
        self._decode = json.JSONDecoder().raw_decode

    def values(self) -> Iterator[object]:
        while True:
            sign = self._next_sign()
            if sign == ",":
                self.at += 1
                continue
            if sign == "]":
                return
            if sign == "":
                yield Cut(self.complete, self.passed + self.at)
                return
            value = self._value()
            if isinstance(value, Cut):
                yield value
                return
            self.complete += 1
            yield value

    def _next_sign(self) -> str:
        while True:
            while self.at < len(self.window) and self.window[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.window):
                return self.window[self.at]
            if not self._read():
                return ""

    def _value(self) -> object:
        while True:
            try:
                value, end = self._decode(self.window, self.at)
            except (ValueError, RecursionError) as error:
                # More text may complete it; each time as much again, so that a long record is not re-read many times.
                held = len(self.window) - self.at
                if isinstance(error, RecursionError) or held > LARGEST_RECORD:
                    raise self._not_json(str(error)) from None
                if not self._read(max(CHUNK, held)):
                    if _is_cut(self.window, error):
                        return Cut(self.complete, self.passed + self.at)
                    raise self._not_json(str(error)) from None
                continue
            if end == len(self.window) and self._read():
                continue  # a number at the window's edge may go on
            self.at = end
            return value

    def _read(self, size: int = CHUNK) -> bool:
        more = self.file.read(size)
        self.passed += self.at
        self.window, self.at = self.window[self.at :] + more, 0
        return bool(more)

    def _not_json(self, problem: str) -> DataError:
        return DataError(
            f"record {self.complete + 1} of the array is no JSON: {problem}",
            where=f"{self.path}, about character {self.passed + self.at:,}",
            fix="mend or remove that record; in a JSON-lines file it would only be dropped",
        )


def _is_cut(window: str, error: Exception) -> bool:
    """Whether the value is unfinished rather than wrong: nothing follows what the parser stopped at."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return (
        error.msg.startswith("Unterminated string") or not window[error.pos :].strip() or error.pos >= len(window) - 6
    )
