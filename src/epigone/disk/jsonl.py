"""JSON and JSON lines, as records: read with file and line in every error, written atomically."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from epigone.disk.atomic_write import atomic_write, disk_errors
from epigone.errors import DataError

__all__ = ["append_jsonl", "iter_jsonl", "read_json", "read_jsonl", "write_jsonl"]

T = TypeVar("T")


def iter_jsonl(path: Path | str, kind: type[T]) -> Iterator[T]:
    """Read one record of type ``kind`` a line; blank lines are passed over.

    Raises:
        DataError: the file does not exist, or a line is no such record (named ``path:line``).
    """
    decoder = msgspec.json.Decoder(kind)
    path = Path(path)
    try:
        file = open(path, "rb")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path), fix="check the path") from error
    with file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise DataError(f"not a valid record: {error}", where=f"{path}:{number}") from error


def read_jsonl(path: Path | str, kind: type[T]) -> list[T]:
    """All records of :func:`iter_jsonl`."""
    return list(iter_jsonl(path, kind))


def read_json(path: Path | str, kind: type[T]) -> T:
    """Read one JSON document as ``kind``.

    Raises:
        DataError: the file does not exist or does not hold such a document.
    """
    path = Path(path)
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path), fix="check the path") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not a valid document: {error}", where=str(path)) from error


def write_jsonl(path: Path | str, records: Iterable[object]) -> int:
    """Write records, one a line, atomically; returns how many."""
    count = 0
    encoder = msgspec.json.Encoder(order="deterministic")
    with atomic_write(path) as file:
        for record in records:
            file.write(encoder.encode(record) + b"\n")
            count += 1
    return count


def append_jsonl(path: Path | str, record: object) -> None:
    """Append one record in a single write; used for event logs, where a torn last line may be dropped by the reader."""
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(descriptor, msgspec.json.encode(record, order="deterministic") + b"\n")
        finally:
            os.close(descriptor)
