"""A dump, read record by record: memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars

from epigone.collect.importing.import_spec import ImportSpec
from epigone.collect.importing.json_documents import Cut, json_documents
from epigone.collect.importing.record_formats import READERS, Fault
from epigone.errors import DataError, MissingDependency
from epigone.records import Conversation, Drop

__all__ = ["import_dump"]

STEP = "import"
PARQUET_ROWS = 2048


def import_dump(spec: ImportSpec) -> Iterator[Conversation | Drop]:
    """Every record of a dump, as a conversation or as a drop with its reason, in the order of the file.

    Ids are ``<source>-<number of the record>``, with the record's own id behind it, so they are unique also where the
    dump's own are not. HC3 gives one conversation an answer.

    Drops (step ``import``): ``not_json``, ``not_a_record`` (other keys or types than the format has), ``empty`` (no
    text in any turn), ``empty_prompt``, ``empty_answer``, ``no_answer``, ``unknown_role``, ``not_only_text``, and at
    most one ``file_cut``, the last one, which says where the file was cut.

    Raises:
        DataError: the file cannot be read, holds no record of this format among its first 1000, or is cut and
            ``refuse_cut`` is set.
        MissingDependency: a hub data set without the package ``datasets``.
    """
    reader = READERS[spec.format]
    decoder = msgspec.json.Decoder(reader.kind)
    where, source = str(spec.path or spec.hub), spec.source_name
    found = 0
    for number, record in enumerate(_records(spec), 1):
        name = f"{source}-{number:06d}"
        if isinstance(record, Cut):
            yield _truncated(spec, record, where)
            break
        if spec.limit is not None and number > spec.limit:
            break
        try:
            row = decoder.decode(record) if isinstance(record, bytes) else msgspec.convert(record, reader.kind)
        except msgspec.ValidationError as error:
            yield Drop(id=name, step=STEP, reason="not_a_record", detail=str(error))
            _check_format(spec, found, number, where, str(error))
            continue
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield Drop(id=name, step=STEP, reason="not_json", detail=str(error))
            _check_format(spec, found, number, where, str(error))
            continue
        for entry in reader.dialogues(row, spec):
            full = f"{name}-{entry.origin}" if entry.origin else name
            if isinstance(entry, Fault):
                yield Drop(id=full, step=STEP, reason=entry.reason, detail=entry.detail)
            else:
                found += 1
                yield Conversation(
                    id=full,
                    messages=entry.messages,
                    source=source,
                    teacher=spec.teacher,
                    terms=spec.terms,
                    tags=entry.tags,
                )
        _check_format(spec, found, number, where, "no dialogue in any record")


def _check_format(spec: ImportSpec, found: int, number: int, where: str, last: str) -> None:
    """Refuse a file of another format after a thousand records without one dialogue: going on only fills the drops."""
    if not found and number == 1000:
        raise DataError(
            f"none of the first {number} records is of the format {spec.format}: {last}",
            where=where,
            fix="name the format that the file has",
        )


def _truncated(spec: ImportSpec, cut: Cut, where: str) -> Drop:
    said = (
        f"the file ends in the middle of a record: {cut.records:,} complete records before it, "
        f"the cut one begins at byte {cut.offset:,}"
    )
    if spec.refuse_cut:
        raise DataError(said, where=where, fix="get the whole file, or leave out refuse_cut to use what is there")
    return Drop(id=f"{spec.source_name}-{cut.records + 1:06d}", step=STEP, reason="file_cut", detail=said)


def _records(spec: ImportSpec) -> Iterator[bytes | Mapping[str, Any] | Cut]:
    if spec.path is None:
        yield from _hub_rows(spec)
    elif spec.path.suffix == ".parquet":
        yield from _parquet_rows(spec.path)
    else:
        yield from json_documents(spec.path)


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        table = polars.scan_parquet(path)
        total = int(table.select(polars.len()).collect().item())
        for start in range(0, total, PARQUET_ROWS):
            yield from table.slice(start, PARQUET_ROWS).collect().iter_rows(named=True)
    except (OSError, polars.exceptions.PolarsError) as error:
        raise DataError(f"cannot be read as Parquet: {error}", where=str(path), fix="check the path") from error


def _hub_rows(spec: ImportSpec) -> Iterator[Mapping[str, Any]]:
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency(
            "reading a hub data set needs the package datasets", fix="pip install 'epigone[local]'"
        ) from error
    try:
        rows = datasets.load_dataset(spec.hub, name=spec.config, split=spec.split, streaming=True)
        yield from rows
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"cannot be loaded: {error}",
            where=f"hub data set {spec.hub}",
            fix="check the id, config and split, and that the hub can be reached",
        ) from error
