"""Votes and references that a command is given: refused where they would be lost, or counted twice, in silence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from epigone.cli import app
from epigone.cli.judge_references import held_to_references, read_references
from epigone.cli.judge_votes import read_votes
from epigone.cli.outputs_given import GivenOutputs, read_given
from epigone.errors import DataError, EpigoneError, SpecError
from epigone.records import Output

VOTE = {"item": "3", "student": "s", "teacher": "t", "voter": "ann", "kind": "person", "choice": "student"}


def lines(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
def given(tmp_path: Path) -> GivenOutputs:
    for name in "ts":
        rows = [{"id": k, "prompt": f"What is {k}?", "response": f"{name} says {k}"} for k in range(8)]
        lines(tmp_path / f"{name}.jsonl", rows)
    return read_given(str(tmp_path / "t.jsonl"), [str(tmp_path / "s.jsonl")])


def test_a_vote_against_another_teacher_is_refused(given: GivenOutputs, tmp_path: Path) -> None:
    path = lines(tmp_path / "v.jsonl", [VOTE, VOTE | {"item": "4", "teacher": "claude"}])
    with pytest.raises(DataError, match=r"v.jsonl:2: a vote on 's' against 'claude', not against 't'"):
        read_votes([path], given)


def test_a_voter_has_one_vote_on_a_pair_in_one_order(given: GivenOutputs, tmp_path: Path) -> None:
    judge = VOTE | {"voter": "j", "kind": "llm_judge"}
    orders = [judge | {"first": first} for first in ("student", "teacher")]
    first, second = (lines(tmp_path / name, [VOTE, *orders]) for name in ("v.jsonl", "w.jsonl"))
    assert len(read_votes([first], given)) == 3
    with pytest.raises(DataError, match=r"w.jsonl:1: 'ann' votes on 's', item '3' again, after .*v.jsonl:1"):
        read_votes([first, second], given)


def test_votes_outside_a_trials_items_are_left_aside(given: GivenOutputs, tmp_path: Path) -> None:
    votes = lines(tmp_path / "v.jsonl", [VOTE | {"item": str(k)} for k in range(8)])
    files = [f"--teacher={tmp_path}/t.jsonl", f"--student={tmp_path}/s.jsonl", f"--out={tmp_path}/out"]
    ran = CliRunner().invoke(app, ["judge", *files, f"--votes={votes}", "--items=5"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert json.loads((tmp_path / "out" / "judge.json").read_text())["votes"] == {"ann": {"ok": 5}}


def test_two_judges_of_one_name_are_refused_before_they_are_asked(given: GivenOutputs, tmp_path: Path) -> None:
    judge = tmp_path / "j.yaml"
    judge.write_text("name: j\napi: {base_url: 'http://127.0.0.1:9/v1', model: m}\n")
    votes = lines(tmp_path / "v.jsonl", [VOTE | {"voter": "j", "kind": "llm_judge", "first": "student"}])
    files = [f"--teacher={tmp_path}/t.jsonl", f"--student={tmp_path}/s.jsonl", f"--out={tmp_path}/out", "--yes"]
    for more in ([f"--judge={judge}"], [f"--votes={votes}"]):
        with pytest.raises(EpigoneError, match="two judges go by the name 'j'") as refused:
            CliRunner().invoke(app, ["judge", *files, f"--judge={judge}", *more], catch_exceptions=False)
        assert refused.type is SpecError


def test_references_are_found_by_id_or_prompt_and_the_others_listed(given: GivenOutputs, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": 1, "answers": ["one"]},
        {"prompt": "what is  2?", "answers": ["two"]},
        {"id": "99", "answers": ["x"]},
    ]
    found = read_references(lines(tmp_path / "r.jsonl", rows), given)
    assert found.right == {"1": ("one",), "2": ("two",)}
    assert [row.id for row in found.unmatched] == ["99"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"id": "99", "answers": ["x"]}], "r.jsonl: is about none of the teacher's items"),
        ([{"id": "1", "answers": []}], "r.jsonl:1: an answer is empty, or there is none"),
        ([{"id": "1", "answers": ["a", " "]}], "r.jsonl:1: an answer is empty, or there is none"),
        ([{"answers": ["a"]}], "r.jsonl:1: has neither 'id' nor 'prompt'"),
        ([{"id": "1", "answers": ["a"]}, {"id": 1, "answers": ["b"]}], "r.jsonl:2: item '1' is there twice"),
    ],
)
def test_references_that_say_nothing_are_refused(
    given: GivenOutputs, tmp_path: Path, rows: list[dict[str, object]], problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        read_references(lines(tmp_path / "r.jsonl", rows), given)


@pytest.mark.parametrize(
    ("response", "answer", "right"),
    [
        ("It is 4.", "4", 1.0),
        ("It is 14.", "4", 0.0),
        ("I know nothing", "no", 0.0),
        ("No,\n not that", "no", 1.0),
        ("Les étés", "été", 0.0),
        ("The U.S.A. did", "U.S.A.", 1.0),
        ("答案是北京。", "北京", 1.0),
        ("", "4", 0.0),
    ],
)
def test_an_answer_is_right_where_it_holds_a_reference_as_whole_words(response: str, answer: str, right: float) -> None:
    (row,) = held_to_references("m", [Output(id="q", prompt="?", response=response)], {"q": (answer,)})
    assert row.scores == {"right": right, "wrong": 1 - right}


def test_the_judged_sample_is_the_one_held_to_the_references_whatever_its_number() -> None:
    samples = [Output(id="q", prompt="?", response=text, sample=k) for k, text in ((2, "five"), (1, "four"))]
    (row,) = held_to_references("m", samples, {"q": ("four",)})
    assert row.scores["right"] == 1.0
