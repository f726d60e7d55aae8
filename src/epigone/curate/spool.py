"""A stream that is read twice: held on disk in between, so that memory stays flat however long it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType

import msgspec

from epigone.records import Conversation

__all__ = ["Spool"]


class Spool:
    """Conversations written once and read back in order; a context manager that removes its file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="epigone-curate-")
        self._encoder = msgspec.json.Encoder()

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, conversation: Conversation) -> None:
        self._file.write(self._encoder.encode(conversation) + b"\n")

    def __iter__(self) -> Iterator[Conversation]:
        decoder = msgspec.json.Decoder(Conversation)
        self._file.flush()
        self._file.seek(0)
        for line in self._file:
            yield decoder.decode(line)
