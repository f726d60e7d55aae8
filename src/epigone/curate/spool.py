"""A stream that is read again, or in another order: held on disk in between, so that memory stays flat."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

import msgspec

from epigone.records import Conversation

__all__ = ["Spool"]


class Spool:
    """Conversations written once and read back in order; a context manager that removes its file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="epigone-curate-")
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Conversation)
        self._starts = array("q")  # where each record begins in the file
        self._size = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, conversation: Conversation) -> None:
        line = self._encoder.encode(conversation) + b"\n"
        self._starts.append(self._size)
        self._size += self._file.write(line)

    def fill(self, counted: Iterable[tuple[Conversation, int]]) -> tuple[list[Conversation], list[int]]:
        """Add conversations with their tokens; gives what is needed to choose among them: id and source, and counts."""
        known: list[Conversation] = []
        counts: list[int] = []
        for conversation, tokens in counted:
            self.add(conversation)
            known.append(Conversation(id=conversation.id, messages=(), source=conversation.source))
            counts.append(tokens)
        return known, counts

    def __iter__(self) -> Iterator[Conversation]:
        self._file.seek(0)
        for line in self._file:
            yield self._decoder.decode(line)

    def at(self, places: Sequence[int]) -> Iterator[Conversation]:
        """The conversations at ``places`` of the order in which they were added."""
        for place in places:
            self._file.seek(self._starts[place])
            yield self._decoder.decode(self._file.readline())
