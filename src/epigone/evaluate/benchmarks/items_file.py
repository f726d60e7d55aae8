"""The items file: one Parquet row for each model, task, item and sample. Any two models can be paired from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars

from epigone.disk import atomic_write
from epigone.errors import DataError
from epigone.records import ItemScore

__all__ = ["read_items", "write_items"]

TEXT_COLUMNS = ("model", "task", "item", "status", "cluster", "prompt_digest", "raw", "extracted", "reference")
SCORE = "score."


def write_items(path: Path | str, items: Iterable[ItemScore]) -> int:
    """Write items atomically; each metric becomes a column ``score.<metric>``, null where it is missing."""
    rows = list(items)
    metrics = list(dict.fromkeys(metric for item in rows for metric in item.scores))
    columns: dict[str, Sequence[Any]] = {name: [getattr(item, name) for item in rows] for name in TEXT_COLUMNS}
    columns["sample"] = [item.sample for item in rows]
    columns |= {f"{SCORE}{metric}": [item.scores.get(metric) for item in rows] for metric in metrics}
    types = dict.fromkeys(TEXT_COLUMNS, polars.String) | {"sample": polars.Int64}
    types |= {f"{SCORE}{metric}": polars.Float64 for metric in metrics}
    with atomic_write(path) as file:
        polars.DataFrame(columns, schema=types).write_parquet(file)
    return len(rows)


def read_items(path: Path | str) -> list[ItemScore]:
    """Read what :func:`write_items` wrote.

    Raises:
        DataError: the file cannot be read or is no items file.
    """
    try:
        table = polars.read_parquet(Path(path))
    except (OSError, polars.exceptions.PolarsError) as error:
        raise DataError(f"cannot be read as an items file: {error}", where=str(path)) from error
    missing = {*TEXT_COLUMNS, "sample"} - set(table.columns)
    if missing:
        raise DataError(f"no items file: the column '{min(missing)}' is missing", where=str(path))
    metrics = [column for column in table.columns if column.startswith(SCORE)]
    return [
        ItemScore(
            **{name: row[name] for name in TEXT_COLUMNS},
            sample=row["sample"],
            scores={column.removeprefix(SCORE): row[column] for column in metrics if row[column] is not None},
        )
        for row in table.iter_rows(named=True)
    ]
