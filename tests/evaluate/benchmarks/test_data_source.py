"""Rows from local files of every kind, and what is wrong with a file said with its place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars
import pytest

from epigone.errors import DataError
from epigone.evaluate.benchmarks import read_items, write_items
from epigone.evaluate.benchmarks.data_source import find_splits, read_rows
from epigone.records import ItemScore

ROWS = [{"question": "a\u2028b", "answer": "1"}, {"question": "c, \u201cd\u201d", "answer": "2"}]


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    polars.DataFrame(ROWS).write_csv(tmp_path / "a.csv")
    polars.DataFrame(ROWS).write_parquet(tmp_path / "a.parquet")
    for file in tmp_path.iterdir():
        assert read_rows(file, {}) == ROWS, file.name


def test_a_column_may_have_another_name_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "x"}\n')
    assert read_rows(tmp_path / "a.jsonl", {"article": "prompt"}) == [{"prompt": "x", "article": "x"}]
    with pytest.raises(DataError, match=r"a\.jsonl:1: no column 'text'\n  fix: its columns are: prompt"):
        read_rows(tmp_path / "a.jsonl", {"article": "text"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"x": 1}\n[2]\n', r"a\.jsonl:2: not a JSON object"),
        ("a.jsonl", b"", "holds no rows"),
        ("a.json", b'{"x": 1}', "expected a JSON array"),
        ("a.json", b"[", "not valid JSON"),
        ("a.jsonl.gz", b"not gzip", "cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"x": 1}' * 99, mtime=0)[:-9], "cannot be read"),
        ("a.parquet", b"not parquet", "cannot be read"),
        ("a.csv", b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_faulty_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / name, {})


def test_splits_are_found_in_a_folder_a_mapping_or_a_single_file(tmp_path: Path) -> None:
    for name in ("train.jsonl", "test.jsonl.gz", "test.csv"):
        (tmp_path / name).touch()
    assert find_splits(tmp_path, ["test", "train"]) == {
        "test": tmp_path / "test.jsonl.gz",
        "train": tmp_path / "train.jsonl",
    }
    assert find_splits(tmp_path / "test.csv", ["test", "train"]) == {"test": tmp_path / "test.csv"}
    with pytest.raises(DataError, match="no file for the split 'validation'"):
        find_splits(tmp_path, ["validation", "train"])
    with pytest.raises(DataError, match="the task reads no split 'tset'"):
        find_splits({"tset": tmp_path / "test.csv"}, ["test", "train"])


def test_items_come_back_from_parquet_as_they_were(tmp_path: Path) -> None:
    items = [
        ItemScore(model="m", task="nq", item="1", scores={"exact_match": 1.0, "f1": 0.5}, raw="é\n", cluster="c"),
        ItemScore(model="m", task="mmlu", item="1", scores={"acc": 0.0}, sample=2, prompt_digest="d", reference="B"),
        ItemScore(model="m", task="nq", item="2", scores={}, status="refused"),
    ]
    assert write_items(tmp_path / "items.parquet", items) == 3
    assert read_items(tmp_path / "items.parquet") == items
    (tmp_path / "other.parquet").write_bytes(b"x")
    with pytest.raises(DataError, match="cannot be read as an items file"):
        read_items(tmp_path / "other.parquet")
    polars.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="no items file"):
        read_items(tmp_path / "other.parquet")
