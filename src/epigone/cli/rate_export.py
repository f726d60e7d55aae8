"""Records of a campaign as JSON lines or Parquet, by the file's ending."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from epigone.disk import atomic_write, write_jsonl
from epigone.errors import DataError

__all__ = ["write_records"]


def write_records(path: Path, records: Sequence[msgspec.Struct]) -> int:
    """Write the records whole or not at all; how many. In Parquet a mapping becomes a column for each key
    (``marks.grammar``) and a list a text.

    Raises:
        DataError: the ending is neither ``.jsonl`` nor ``.parquet``.
        DiskError: the file cannot be written.
    """
    if path.suffix == ".jsonl":
        return write_jsonl(path, records)
    if path.suffix != ".parquet":
        raise DataError("is neither .jsonl nor .parquet", where=str(path), fix="choose one of the two endings")
    import polars

    rows = [_flat(record) for record in records]
    columns = dict.fromkeys(name for row in rows for name in row)
    with atomic_write(path) as file:
        polars.DataFrame({name: [row.get(name) for row in rows] for name in columns}, strict=False).write_parquet(file)
    return len(rows)


def _flat(record: msgspec.Struct) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, dict):
            row |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            row[name] = ", ".join(value) if isinstance(value, tuple) else value
    return row
