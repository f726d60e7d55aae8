"""Read conversation files line by line; a line that is no conversation becomes a drop that names file and line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from epigone.errors import DataError
from epigone.records import Conversation, Drop

__all__ = ["read_conversations"]

_DETAIL = 200  # characters


def read_conversations(paths: Iterable[Path]) -> Iterator[Conversation | Drop]:
    """The conversations of ``messages`` JSONL files, in order; blank lines are passed over.

    A line that is not JSON, not a conversation, or nested beyond reading is a :class:`Drop` of step ``read`` whose id
    is ``file:line``.

    Raises:
        DataError: a file cannot be opened.
    """
    decoder = msgspec.json.Decoder(Conversation)
    for path in paths:
        try:
            file = open(path, "rb")
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", where=str(path), fix="check the path") from error
        with file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _decode(decoder, line, f"{path.name}:{number}")


def _decode(decoder: msgspec.json.Decoder[Conversation], line: bytes, where: str) -> Conversation | Drop:
    try:
        return decoder.decode(line)
    except msgspec.ValidationError as error:  # JSON, but not this record: a wrong role, a missing key
        return Drop(id=where, step="read", reason="not_a_conversation", detail=str(error)[:_DETAIL])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Drop(id=where, step="read", reason="not_json", detail=str(error)[:_DETAIL])
    except RecursionError:
        return Drop(id=where, step="read", reason="nested_too_deeply", detail=f"{len(line):,} bytes")
