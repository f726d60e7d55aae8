"""Whatever a file holds, each line becomes a conversation or a drop with a reason, and the output can be read again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from epigone.cli import app
from epigone.curate import (
    Curated,
    CurateSpec,
    Curation,
    card_html,
    curate,
    curate_to_folder,
    data_card,
    read_conversations,
)
from epigone.disk import read_jsonl, write_jsonl
from epigone.errors import DataError
from epigone.records import Conversation, Drop, Message

RECIPE = CurateSpec.model_validate({"steps": ["clean", "deduplicate", "near_duplicates", "language", "decontaminate"]})
GOOD = b'{"id":"good","messages":[{"role":"user","content":"Why?"},{"role":"assistant","content":"Because."}]}'


def outcomes(tmp_path: Path, *lines: bytes) -> list[tuple[str, str, str]]:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n".join(lines))
    curated = curate(RECIPE, read_conversations([path]), seed=0)
    return [(drop.id, drop.step, drop.reason) for drop in curated.drops]


@pytest.mark.parametrize(
    ("line", "step", "reason"),
    [
        (b"not json", "read", "not_json"),
        (b'{"id": "x", "messages": [', "read", "not_json"),
        (b"\xff\xfe", "read", "not_json"),
        (b'{"id":"x","messages":[{"role":"user","content":"half a \\ud800 pair"}]}', "read", "not_json"),
        (b"[1, 2]", "read", "not_a_conversation"),
        (b'{"messages": []}', "read", "not_a_conversation"),
        (b'{"id":"x","messages":[{"role":"robot","content":"hi"}]}', "read", "not_a_conversation"),
        (b'{"id":"x","messages":[{"role":"user","content":7}]}', "read", "not_a_conversation"),
        (b'{"id":"x","messages":[],"deep":' + b"[" * 100_000, "read", "nested_too_deeply"),
    ],
    ids=["words", "cut", "bytes", "surrogate", "array", "no-id", "role", "number", "deep"],
)
def test_a_line_that_is_no_conversation_is_a_drop_that_names_file_and_line(
    tmp_path: Path, line: bytes, step: str, reason: str
) -> None:
    assert outcomes(tmp_path, GOOD, b"", line, GOOD.replace(b"good", b"b").replace(b"Why", b"How")) == [
        ("in.jsonl:3", step, reason)
    ]


def test_hostile_turns_are_dropped_with_a_reason(tmp_path: Path) -> None:
    def line(name: str, *turns: tuple[str, str]) -> bytes:
        return json.dumps({"id": name, "messages": [{"role": role, "content": text} for role, text in turns]}).encode()

    big = line("big", ("user", "word " * 2_000_000), ("assistant", "x"))
    nul = line("nul", ("user", "a\x00b"), ("assistant", "x"))
    none = line("none")
    blank = line("blank", ("user", " \n"), ("assistant", "\t"))
    order = line("order", ("assistant", "I begin."), ("assistant", "I go on."))
    assert outcomes(tmp_path, GOOD, big, nul, none, blank, order) == [
        ("big", "clean", "turn_too_long"),
        ("nul", "intake", "nul_character"),
        ("none", "clean", "empty"),
        ("blank", "clean", "empty"),
        ("order", "clean", "no_exchange"),
    ]


def test_a_byte_order_mark_costs_no_record(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"id": "a", "messages": []}\n{"id": "b", "messages": []}\n', encoding="utf-8-sig")
    assert [type(record) for record in read_conversations([path])] == [Conversation, Conversation]


def test_a_file_that_is_not_there_is_a_data_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl: cannot be read"):
        list(read_conversations([tmp_path / "absent.jsonl"]))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "bot"]) | JSON, "content": st.text(max_size=30) | JSON}
)
RECORD = st.fixed_dictionaries({"id": st.text(max_size=5) | JSON, "messages": st.lists(TURN, max_size=4) | JSON})
LINE = st.one_of(
    RECORD.map(lambda value: json.dumps(value).encode()), st.binary(max_size=40), JSON.map(repr).map(str.encode)
)


def assert_written_and_counted(records: Sequence[Conversation | Drop]) -> None:
    """Nothing is lost, every drop has its reason, and what is left can be written and shown."""
    curated = curate(RECIPE, records, seed=0)
    assert len(curated.conversations) + len(curated.drops) == len(records)
    assert all(drop.reason and drop.step for drop in curated.drops)
    assert curated.funnel[-1].kept == len(curated.conversations)
    assert msgspec.json.decode(msgspec.json.encode(curated), type=Curated) == curated
    assert card_html(data_card(curated, title="fuzz")).encode("utf-8")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINE, max_size=6))
def test_any_lines_become_records_or_reasoned_drops(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "fuzz.jsonl"
    path.write_bytes(b"\n".join(lines))
    read = list(read_conversations([path]))
    assert len(read) == sum(1 for line in path.read_bytes().split(b"\n") if line.strip())
    assert_written_and_counted(read)


TEXT = st.text(st.characters(codec=None, exclude_categories=[]), max_size=20)  # lone surrogates and all
MESSAGE = st.builds(Message, role=st.sampled_from(["user", "assistant", "system"]), content=TEXT)
RECORDS = st.builds(
    Conversation,
    id=TEXT,
    messages=st.lists(MESSAGE, max_size=5).map(tuple),
    source=TEXT,
    teacher=TEXT,
    terms=TEXT,
    tags=st.dictionaries(TEXT, TEXT, max_size=1),
)


@settings(max_examples=150, deadline=None)
@given(records=st.lists(RECORDS, max_size=5))
def test_records_in_memory_never_break_the_writing(records: list[Conversation]) -> None:
    assert_written_and_counted(records)


def test_what_is_written_can_be_read_again(tmp_path: Path) -> None:
    records = [
        Conversation(id="a", messages=(Message(role="user", content="\ud800"),)),
        Conversation(id="\udfff", messages=()),
    ]
    curate_to_folder(Curation(RECIPE, seed=0), records, tmp_path, title="fuzz")
    assert read_jsonl(tmp_path / "conversations.jsonl", Conversation) == []
    drops = read_jsonl(tmp_path / "drops.jsonl", Drop)
    assert [(drop.id, drop.reason) for drop in drops] == [("a", "lone_surrogate"), ("\\udfff", "lone_surrogate")]


def test_a_collected_folder_brings_its_drops_so_that_the_funnel_begins_at_the_source(tmp_path: Path) -> None:
    told = Conversation(
        id="a", messages=(Message(role="user", content="Why?"), Message(role="assistant", content="So."))
    )
    write_jsonl(tmp_path / "conversations.jsonl", [told])
    write_jsonl(tmp_path / "drops.jsonl", [Drop(id="b", step="import", reason="empty")])
    curated = curate(RECIPE, read_conversations([tmp_path]), seed=0)
    assert [row.step for row in curated.funnel][:2] == ["import", "clean"]
    assert curated.funnel[0].reasons == {"empty": 1}
    assert [one.id for one in curated.conversations] == ["a"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('{"benchmark": "b", "item": "1", "prompt": "q", "answer": ["a"]}\n', "answer"),
        ('{"benchmark": "b", "item": "1", "prompt": "q"}\n{"benchmark": "b", "item": "1", "prompt": "r"}\n', "twice"),
    ],
)
def test_evaluation_items_that_would_go_unchecked_are_refused(tmp_path: Path, lines: str, says: str) -> None:
    items, recipe, data = tmp_path / "items.jsonl", tmp_path / "recipe.yaml", tmp_path / "in.jsonl"
    items.write_text(lines)
    recipe.write_text("steps: [clean]")
    data.write_text("")
    command = ["curate", str(recipe), str(data), "--out", str(tmp_path / "out"), "--evaluation", str(items)]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, DataError)
    assert says in str(result.exception)
    assert "items.jsonl" in str(result.exception)
