"""The rows of a task's splits, from local files: JSON lines, JSON, CSV, Parquet; read directly, cached nowhere."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars

from epigone.errors import DataError

__all__ = ["find_splits", "read_rows"]

Row = dict[str, Any]
SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".csv", ".parquet")


def find_splits(source: Path | Mapping[str, Path], splits: list[str]) -> dict[str, Path]:
    """Which file holds which split. The first of ``splits`` is the scored one and must be there.

    Args:
        source: a folder with ``<split>.<suffix>`` files, one file (the scored split), or a mapping split -> file.

    Raises:
        DataError: the scored split has no file, or the mapping names a split that the task does not read.
    """
    wanted = ", ".join(dict.fromkeys(splits))
    if isinstance(source, Mapping):
        unknown = sorted(set(source) - set(splits))
        if unknown:
            raise DataError(f"the task reads no split '{unknown[0]}'", where="data", fix=f"its splits are: {wanted}")
        found = {split: Path(path) for split, path in source.items()}
    elif Path(source).is_dir():
        candidates = {split: [Path(source) / f"{split}{suffix}" for suffix in SUFFIXES] for split in splits}
        found = {split: path for split, paths in candidates.items() for path in paths[::-1] if path.is_file()}
    else:
        found = {splits[0]: Path(source)}
    if splits[0] not in found:
        fix = f"put {splits[0]}.jsonl there, or give 'data' as a mapping split -> file ({wanted})"
        raise DataError(f"no file for the split '{splits[0]}'", where=str(source), fix=fix)
    return found


def read_rows(path: Path, fields: Mapping[str, str]) -> list[Row]:
    """The rows of a file, with columns renamed by ``fields`` (wanted name -> name in the file).

    Raises:
        DataError: the file cannot be read, a line is no JSON object, the file is empty, or a column is missing.
    """
    try:
        rows = _parse(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot be read: {reason}", where=str(path), fix="check the path") from error
    except (polars.exceptions.PolarsError, csv.Error, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise DataError(f"cannot be read: {error}", where=str(path)) from error
    if not rows:
        raise DataError("holds no rows", where=str(path))
    for wanted, given in fields.items():
        for number, row in enumerate(rows, 1):
            if given not in row:
                known = ", ".join(rows[0])
                raise DataError(f"no column '{given}'", where=f"{path}:{number}", fix=f"its columns are: {known}")
            row[wanted] = row[given]
    return rows


def _parse(path: Path) -> list[Row]:
    if path.suffix == ".parquet":
        return list(polars.read_parquet(path).to_dicts())
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))
    if path.suffix == ".json":
        try:
            found = json.loads(content)
        except ValueError as error:
            raise DataError(f"not valid JSON: {error}", where=str(path)) from error
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise DataError("expected a JSON array of objects", where=str(path))
        return found
    decoder = msgspec.json.Decoder(Row)
    rows = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            try:
                rows.append(decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise DataError(f"not a JSON object: {error}", where=f"{path}:{number}") from error
    return rows
