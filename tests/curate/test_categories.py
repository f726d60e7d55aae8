"""Categories: a judge's words become labels or say that they are none; shares have intervals; labelling by hand
resumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from epigone.cli import app
from epigone.curate import (
    CurateSpec,
    QueryLabel,
    category_shares,
    curate,
    draw_queries,
    label_queries,
    read_definitions,
)
from epigone.disk import read_jsonl, write_jsonl
from epigone.errors import SpecError
from epigone.models import Progress
from epigone.records import Conversation, Message, Reply, Request, ScoreReply, ScoreRequest

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
    with pytest.raises(SpecError, match="no model is given"):
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
