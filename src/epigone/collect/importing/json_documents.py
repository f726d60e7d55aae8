"""JSON files of any size, cut into their records without reading them whole.

An array's records are found by counting brackets outside strings with one regular expression, in time linear in the
file; nothing is decoded here. JSON lines are split at line ends, so that one broken line costs one record.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import msgspec
from msgspec import Struct

from epigone.errors import DataError

__all__ = ["Cut", "json_documents"]

READ_BYTES = 1 << 20
MAX_RECORD_BYTES = 256 << 20
_SPACE_AND_COMMAS = b" \t\r\n,"
# Everything up to the next bracket, and over the strings before it that are complete; or to the opening quote of one
# that is not. Only runs of single characters are possessive: Python before 3.11.5 matches possessive groups wrongly
# (gh-106052). The counts bound the memory that a match takes to step back; what is longer is walked over in several.
_UP_TO_BRACKET = re.compile(rb'[^\[\]{}"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+){0,100}"[^\[\]{}"]*+){0,100}', re.DOTALL)
_UP_TO_QUOTE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+){0,1000}', re.DOTALL)


class Cut(Struct, frozen=True):
    """The file ended in the middle of a record, which began at byte ``offset`` after ``records`` complete ones.

    Of a gzipped file, ``offset`` counts uncompressed bytes.
    """

    records: int
    offset: int


def json_documents(path: Path) -> Iterator[bytes | Cut]:
    """The records of a JSON array, of JSON lines, or of JSON objects one after the other, undecoded, in order.

    The last item is a :class:`Cut` if the file ends too early. What stands between records and is no object is given
    out like a record: its reader will find that it is none.

    Raises:
        DataError: the file cannot be read, holds no JSON, or a record is longer than 256 MiB.
    """
    with _opened(path) as file:
        head = _read(file, path)
        while head and not head.strip(b"\xef\xbb\xbf \t\r\n"):
            more = _read(file, path)
            if not more:
                break
            head += more
        start = len(head) - len(head.removeprefix(b"\xef\xbb\xbf").lstrip())
        if head[start : start + 1] not in (b"[", b"{"):
            raise DataError(
                "holds neither a JSON array nor JSON objects", where=str(path), fix="check the file and its format"
            )
        if head[start : start + 1] == b"{" and _first_line_is_a_document(head[start:]):
            yield from _lines(file, path, head, start)
        else:
            yield from _Brackets(file, path, head, start).documents()


def _first_line_is_a_document(head: bytes) -> bool:
    """Whether the first line is complete in itself (or so long that it does not end within what was read)."""
    line, end, _ = head.partition(b"\n")
    if not end:
        return len(head) >= READ_BYTES
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return not line.strip().endswith((b"{", b"[", b","))
    return True


def _lines(file: IO[bytes], path: Path, head: bytes, start: int) -> Iterator[bytes | Cut]:
    records, offset, rest = 0, start, head[start:]
    while True:
        *lines, rest = rest.split(b"\n")
        for line in lines:
            if line.strip():
                records += 1
                yield line
            offset += len(line) + 1
        _check_length(rest, path, offset)
        more = _read(file, path)
        if not more:
            break
        rest += more
    if rest.strip():
        if _is_whole(rest):
            yield rest
        else:
            yield Cut(records, offset)


def _is_whole(document: bytes) -> bool:
    try:
        msgspec.json.decode(document, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return document.rstrip().endswith((b"}", b"]"))  # wrong, but not cut
    return True


class _Brackets:
    """Walks through a file and gives out what stands between the brackets of its outermost objects."""

    def __init__(self, file: IO[bytes], path: Path, head: bytes, start: int) -> None:
        self._file, self._path = file, path
        self._buffer, self._position = head, start
        self._dropped = 0  # bytes of the file before the buffer
        self._ended = self._in_string = False

    def documents(self) -> Iterator[bytes | Cut]:
        in_array = self._buffer[self._position : self._position + 1] == b"["
        self._position += in_array
        records, depth, begin = 0, 0, self._position
        closed = not in_array
        while True:
            bracket = self._next_bracket(begin)
            begin = min(begin, len(self._buffer)) if bracket is None else begin - self._forget(begin)
            if bracket is None:
                break
            opens = bracket in b"{["
            if opens and depth == 0:
                gap = self._buffer[begin : self._position].strip(_SPACE_AND_COMMAS)
                if gap:
                    records += 1
                    yield gap
                begin = self._position
            self._position += 1
            depth += 1 if opens else -1
            if depth < 0:  # the array's own end
                gap = self._buffer[begin : self._position - 1].strip(_SPACE_AND_COMMAS)
                if gap:
                    yield gap
                closed, begin, depth = True, self._position, 0
            elif depth == 0:
                records += 1
                yield self._buffer[begin : self._position]
                begin = self._position
        rest = self._buffer[begin:].strip(_SPACE_AND_COMMAS)
        if not closed or depth > 0 or rest.startswith(b'"'):
            yield Cut(records, self._dropped + begin)
        elif rest:
            yield rest

    def _next_bracket(self, begin: int) -> bytes | None:
        """Move to the next bracket outside strings and return it; ``None`` at the end of the file."""
        while True:
            pattern = _UP_TO_QUOTE if self._in_string else _UP_TO_BRACKET
            match = pattern.match(self._buffer, self._position)
            assert match is not None  # both match the empty string
            self._position = match.end()
            found = self._buffer[self._position : self._position + 1]
            if found == b'"':
                self._in_string = not self._in_string
                self._position += 1
            elif found and not self._in_string:
                return found
            elif len(self._buffer) - self._position < 2:  # the end, or a backslash without what it escapes
                if self._ended:
                    return None
                self._read_more(begin)

    def _read_more(self, begin: int) -> None:
        """Add to the buffer; twice as much each time a single record asks for it, so that a long string costs O(n)."""
        pending = len(self._buffer) - begin
        _check_length(self._buffer[begin:], self._path, self._dropped + begin)
        more = _read(self._file, self._path, max(READ_BYTES, pending))
        self._ended = not more
        self._buffer += more

    def _forget(self, begin: int) -> int:
        """Drop what was given out, once it is most of the buffer; returns how far positions moved."""
        if begin < READ_BYTES:
            return 0
        self._buffer = self._buffer[begin:]
        self._position -= begin
        self._dropped += begin
        return begin


def _check_length(pending: bytes, path: Path, offset: int) -> None:
    if len(pending) > MAX_RECORD_BYTES:
        raise DataError(
            f"the record at byte {offset} does not end within {MAX_RECORD_BYTES >> 20} MiB",
            where=str(path),
            fix="this is hardly a dump of dialogues: check the file",
        )


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    file: IO[bytes]
    try:
        file = cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else open(path, "rb")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path), fix="check the path") from error
    with file:
        yield file


def _read(file: IO[bytes], path: Path, size: int = READ_BYTES) -> bytes:
    """At most ``size`` bytes; nothing at the end of the file, or of what a cut gzip file still holds."""
    try:
        return file.read(size)
    except EOFError:
        return b""
    except (OSError, zlib.error) as error:
        raise DataError(f"cannot be read: {error}", where=str(path)) from error
