"""Categories: a judge's words become labels or say that they are none; shares have intervals; labelling by hand
resumes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from epigone.cli import app
from epigone.curate import (
    CurateSpec,
    QueryLabel,
    card_markdown,
    category_shares,
    curate,
    data_card,
    draw_queries,
    label_queries,
    latest_labels,
    read_definitions,
)
from epigone.disk import read_jsonl, write_jsonl
from epigone.errors import DataError, SpecError
from epigone.models import Progress
from epigone.records import Conversation, Message, Reply, Request, ScoreReply, ScoreRequest
from epigone.specs import parse_spec

DATA = [
    Conversation(id=f"c{n}", messages=(Message(role="user", content=query), Message(role="assistant", content="Yes.")))
    for n, query in enumerate(
        ["Write a poem on rain", "What is a fjord?", "Fix my Python loop", "Name a cat", "continue"]
    )
]


class ScriptedJudge:
    """A text model that answers by what the request is about, from a script."""

    name = "scripted"
    parameters = None

    def __init__(self, script: dict[str, Reply]) -> None:
        self.script = script

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        asked = [(request.messages or ())[0].content for request in requests]
        return [next(reply for key, reply in self.script.items() if key in question) for question in asked]

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:
        raise NotImplementedError

    def count_tokens(self, text: str) -> int | None:
        return None

    def close(self) -> None:
        pass


JUDGE = ScriptedJudge(
    {
        "poem": Reply(status="ok", text=" Generation.\n"),
        "fjord": Reply(status="ok", text="The category is: general QA"),
        "Python": Reply(status="ok", text="coding or chat"),
        "cat": Reply(status="refused", text=None),
    }
)


def test_a_judge_s_answer_is_a_category_or_its_status_says_why_not() -> None:
    labels = label_queries(draw_queries(DATA, 10, seed=0), read_definitions(), JUDGE, seed=0)
    assert {label.conversation: (label.category, label.status) for label in labels} == {
        "c0": ("generation", "ok"),
        "c1": ("general QA", "ok"),
        "c2": (None, "unparsed"),
        "c3": (None, "refused"),
    }


def test_the_step_needs_a_judge_and_labels_a_sample() -> None:
    recipe = CurateSpec.model_validate({"steps": [{"categories": {"sample": 3}}]})
    curated = curate(recipe, DATA, seed=0, judge=JUDGE)
    assert len(curated.labels) == 3
    assert len(curated.conversations) == len(DATA)
    with pytest.raises(SpecError, match="nobody labels"):
        curate(recipe, DATA, seed=0)


def test_the_draw_does_not_depend_on_the_order_and_grows_by_appending() -> None:
    assert draw_queries(DATA[::-1], 4, seed=1) == draw_queries(DATA, 4, seed=1)
    assert draw_queries(DATA, 4, seed=1)[:2] == draw_queries(DATA, 2, seed=1)
    assert len(draw_queries(DATA, 9, seed=1)) == 4  # "continue" asks for nothing


def test_shares_have_wilson_intervals_and_leave_the_unlabelled_out() -> None:
    names = ["coding"] * 8 + ["chat"] * 2 + [None] * 5
    labels = [QueryLabel(conversation=str(n), query="q", category=name, labeller="x") for n, name in enumerate(names)]
    coding, chat = category_shares(labels)
    assert (coding.category, coding.count, coding.share) == ("coding", 8, 0.8)
    # Wilson 1927 for 8 of 10: centre (0.8 + z²/20)/(1 + z²/10), z = 1.96.
    assert (coding.low, coding.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert chat.share == 0.2
    ada = [QueryLabel(conversation="1", query="q", category="chat", labeller="ada")]
    assert [(row.labeller, row.share) for row in category_shares(labels + ada)] == [("ada", 1), ("x", 0.8), ("x", 0.2)]
    assert category_shares([]) == ()


def test_the_paper_s_nine_categories_are_built_in_and_a_file_may_replace_them(tmp_path: Path) -> None:
    assert len(read_definitions().categories) == 9
    path = tmp_path / "two.yaml"
    path.write_text("instruction: Sort.\ncategories: {Fact: a fact, fact!: another}\n")
    with pytest.raises(SpecError, match="must differ"):
        read_definitions(path)


def test_labelling_by_hand_stops_and_goes_on_where_it_was(tmp_path: Path) -> None:
    data, out = tmp_path / "in.jsonl", tmp_path / "labels.jsonl"
    write_jsonl(data, DATA)
    command = ["curate", "label", str(data), "--out", str(out), "--sample", "3"]
    first = CliRunner().invoke(app, command, input="99\n1\nq\n")
    assert first.exit_code == 0, first.output
    assert "a number from 1 to 9" in first.output
    assert [label.category for label in read_jsonl(out, QueryLabel)] == ["generation"]
    second = CliRunner().invoke(app, command, input="2\n3\n")
    assert second.exit_code == 0, second.output
    assert [label.category for label in read_jsonl(out, QueryLabel)] == ["generation", "general QA", "coding"]
    assert "33%" in second.output


def test_a_query_cannot_steer_the_terminal(tmp_path: Path) -> None:
    data = tmp_path / "in.jsonl"
    write_jsonl(data, [Conversation(id="x", messages=(Message(role="user", content="\x1b[2J\x07 hello"),))])
    result = CliRunner().invoke(app, ["curate", "label", str(data), "--out", str(tmp_path / "l.jsonl")], input="q\n")
    assert "hello" in result.output
    assert "\x1b" not in result.output


def test_a_long_query_is_cut_in_sight(tmp_path: Path) -> None:
    data = tmp_path / "in.jsonl"
    write_jsonl(data, [Conversation(id="x", messages=(Message(role="user", content="word " * 1_000),))])
    result = CliRunner().invoke(app, ["curate", "label", str(data), "--out", str(tmp_path / "l.jsonl")], input="q\n")
    assert "… (3,000 more characters)" in result.output


def test_a_file_without_a_conversation_is_no_finished_labelling(tmp_path: Path) -> None:
    data = tmp_path / "dump.json"
    data.write_text('[{"conversations": []}]\n')
    result = CliRunner().invoke(app, ["curate", "label", str(data), "--out", str(tmp_path / "l.jsonl")])
    assert isinstance(result.exception, DataError)
    assert "no conversation with a query to label" in str(result.exception)


def labelling(folder: Path, *more: str) -> list[str]:
    if not (folder / "in.jsonl").exists():
        write_jsonl(folder / "in.jsonl", DATA)
    return ["curate", "label", str(folder / "in.jsonl"), "--out", str(folder / "labels.jsonl"), "--sample", "3", *more]


def test_a_slip_is_put_right_by_going_back(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, labelling(tmp_path), input="1\nb\n3\n2\n6\n")
    assert result.exit_code == 0, result.output
    labels = read_jsonl(tmp_path / "labels.jsonl", QueryLabel)
    assert [label.category for label in labels] == ["generation", "coding", "general QA", "chat"]
    assert [label.category for label in latest_labels(labels)] == ["coding", "general QA", "chat"]
    assert "generation" not in result.output.rsplit("category", 1)[1]  # the table of shares


def test_two_people_label_the_same_draw_in_one_file(tmp_path: Path) -> None:
    for name in ("ada", "kurt"):
        result = CliRunner().invoke(app, labelling(tmp_path, "--name", name), input="1\n1\n1\n")
        assert "100%" in result.output
    labels = read_jsonl(tmp_path / "labels.jsonl", QueryLabel)
    assert [label.labeller for label in labels] == ["ada"] * 3 + ["kurt"] * 3


def test_going_on_with_other_categories_is_refused(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, labelling(tmp_path), input="1\nq\n").exit_code == 0
    (tmp_path / "two.yaml").write_text("instruction: Sort.\ncategories: {fact: a, opinion: b}\n")
    result = CliRunner().invoke(app, labelling(tmp_path, "--definitions", str(tmp_path / "two.yaml")), input="1\n")
    assert isinstance(result.exception, DataError)
    assert "other categories: generation" in str(result.exception)


def test_labels_made_by_hand_stand_in_the_card_of_a_recipe(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, labelling(tmp_path), input="1\n2\n2\n").exit_code == 0
    gone = read_jsonl(tmp_path / "labels.jsonl", QueryLabel)[0].conversation
    recipe = CurateSpec.model_validate({"steps": [{"categories": {"labels": str(tmp_path / "labels.jsonl")}}]})
    curated = curate(recipe, [one for one in DATA if one.id != gone], seed=0)
    assert [label.category for label in curated.labels] == ["general QA", "general QA"]
    assert any("1 labelled conversations are not in the data" in notice for notice in curated.notices)
    assert "| general QA | person | 2 | 100 % | 34 to 100 % |" in card_markdown(data_card(curated, title="t"))
    with pytest.raises(SpecError, match="not both"):
        parse_spec(CurateSpec, {"steps": [{"categories": {"labels": "x", "judge": {"local": {"hf": "y"}}}}]}, where="r")


def test_in_a_real_terminal_it_goes_on_after_a_kill(tmp_path: Path) -> None:
    def start() -> tuple[subprocess.Popen[bytes], int]:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "epigone", *labelling(tmp_path)]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
        os.close(theirs)
        return process, ours

    def read_until(terminal: int, text: str) -> str:
        """What the terminal shows up to ``text``, or to the end of the process."""
        seen = b""
        with suppress(OSError):  # how Linux says that nobody writes to this terminal any more
            while text.encode() not in seen:
                seen += os.read(terminal, 4096)
        return seen.decode()

    process, terminal = start()
    assert "1 of 3" in read_until(terminal, "q to stop: ")
    os.write(terminal, b"1\n")
    read_until(terminal, "2 of 3")
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.close(terminal)
    process, terminal = start()
    assert "2 of 3" in read_until(terminal, "q to stop: ")
    os.write(terminal, b"3\n")
    assert "3 of 3" in read_until(terminal, "q to stop: ")
    os.write(terminal, b"3\n")
    assert "67%" in read_until(terminal, "the end")
    process.wait()
    os.close(terminal)
    assert len(read_jsonl(tmp_path / "labels.jsonl", QueryLabel)) == 3
