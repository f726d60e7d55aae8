"""Read conversation files line by line; a line that is no conversation becomes a drop that names file and line."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from epigone.curate.curated import Collection
from epigone.disk import iter_jsonl, read_json
from epigone.errors import DataError
from epigone.records import Conversation, Drop

__all__ = ["read_collections", "read_conversations"]

_DETAIL = 200  # characters


def read_conversations(paths: Iterable[Path]) -> Iterator[Conversation | Drop]:
    """The conversations of ``messages`` JSONL files, in order; blank lines are passed over.

    A folder, as ``epigone collect`` writes it, stands for its ``conversations.jsonl``, after the drops of its
    ``drops.jsonl``: so the funnel begins where the data came from. A line that is not JSON, not a conversation, or
    nested beyond reading is a :class:`Drop` of step ``read`` whose id is ``file:line``.

    Raises:
        DataError: a file cannot be opened, or a line of a ``drops.jsonl`` is no drop.
    """
    decoder = msgspec.json.Decoder(Conversation)
    for path in paths:
        if path.is_dir() and (path / "drops.jsonl").is_file():
            yield from iter_jsonl(path / "drops.jsonl", Drop)
        name = path / "conversations.jsonl" if path.is_dir() else path
        try:
            file = open(name, "rb")
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", where=str(name), fix="check the path") from error
        with file:
            for number, read in enumerate(file, 1):
                line = read.removeprefix(codecs.BOM_UTF8) if number == 1 else read  # some editors begin with one
                if line.strip():
                    yield _decode(decoder, line, f"{name.name}:{number}")


def read_collections(paths: Iterable[Path]) -> tuple[Collection, ...]:
    """What the ``collected.json`` of each folder says; files and folders without one say nothing."""
    summaries = [path / "collected.json" for path in paths if path.is_dir()]
    return tuple(read_json(summary, Collection) for summary in summaries if summary.is_file())


def _decode(decoder: msgspec.json.Decoder[Conversation], line: bytes, where: str) -> Conversation | Drop:
    try:
        return decoder.decode(line)
    except msgspec.ValidationError as error:  # JSON, but not this record: a wrong role, a missing key
        return Drop(id=where, step="read", reason="not_a_conversation", detail=str(error)[:_DETAIL])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Drop(id=where, step="read", reason="not_json", detail=str(error)[:_DETAIL])
    except RecursionError:
        return Drop(id=where, step="read", reason="nested_too_deeply", detail=f"{len(line):,} bytes")
