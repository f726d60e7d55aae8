"""`epigone compare` and `epigone report --from` on files."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from epigone.cli import app
from epigone.errors import DataError, SpecError
from epigone.records import ItemScore, Results, Vote

LISTS = "Here is an overview.\n1. One.\n2. Two.\n3. Three.\nIn summary, count to {0}."
PLAIN = "Count to {0}"


def outputs(path: Path, text: str, samples: int = 1) -> Path:
    rows = [
        {"id": f"q{i}", "prompt": f"Count to {i}", "response": text.format(i) + " please" * (i % 5 + s), "sample": s}
        for i in range(40)
        for s in range(samples)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    outputs(tmp_path / "t.jsonl", LISTS, samples=2)
    outputs(tmp_path / "b.jsonl", PLAIN)
    outputs(tmp_path / "s.jsonl", LISTS)
    right = {"t": 1.0, "b": 0.0}
    rows = [
        ItemScore(model=name, task="qa", item=f"i{i}", scores={"exact_match": right.get(name, float(i % 10 == 0))})
        for name in "tbs"
        for i in range(50)
    ]
    (tmp_path / "items.jsonl").write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    votes = [
        Vote(item=f"q{i}", student="s", teacher="t", voter="j", kind="llm_judge", choice="student", first=first)  # type: ignore[arg-type]
        for i in range(40)
        for first in ("student", "teacher")
    ]
    (tmp_path / "votes.jsonl").write_bytes(b"\n".join(msgspec.json.encode(vote) for vote in votes))
    named = [f"--{role}={role[0]}={tmp_path}/{role[0]}.jsonl" for role in ("teacher", "base", "student")]
    files = [f"--items={tmp_path}/items.jsonl", f"--votes={tmp_path}/votes.jsonl"]
    return ["compare", *named, *files, f"--out={tmp_path}/out", "--resamples=200"]


def test_compare_answers_from_files_alone(arguments: list[str], tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    results = msgspec.json.decode((tmp_path / "out" / "compare.json").read_bytes(), type=Results)
    assert results.headline_models == ("s",)
    capability = results.headline["capability_closed"]
    assert capability.value == pytest.approx(0.1)  # 5 of 50 right, base 0, teacher 50
    assert results.headline["style_closed"].value == pytest.approx(1.0, abs=0.15)
    assert results.estimates["s"]["preference.llm_judge.win_rate"].value == 1.0
    assert "capability closed" in ran.output


def test_the_page_is_made_again_from_the_folder(arguments: list[str], tmp_path: Path) -> None:
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    page = tmp_path / "out" / "index.html"
    first = page.read_text()
    page.unlink()
    ran = CliRunner().invoke(app, ["report", f"--from={tmp_path}/out"], catch_exceptions=False)
    assert ran.exit_code == 0
    again = page.read_text()
    assert "s against t" in again and again.count("data-axis") == first.count("data-axis") > 20
    assert "Count to 7" in again


def test_what_is_not_estimated_is_explained(arguments: list[str]) -> None:
    without_scores = [argument for argument in arguments if not argument.startswith(("--items", "--votes"))]
    ran = CliRunner().invoke(app, without_scores, catch_exceptions=False)
    reason = "note: s: capability closed is not estimated, no headline axis of kind capability"
    assert reason in " ".join(ran.output.split())
    ran = CliRunner().invoke(app, [a for a in without_scores if not a.startswith("--base")], catch_exceptions=False)
    assert "without the outputs of a base (--base) there is no gap to be closed" in " ".join(ran.output.split())


def test_what_cannot_be_done_is_said(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no item has a score on this axis"):
        CliRunner().invoke(app, [*arguments, "--headline=qa.accuracy"], catch_exceptions=False)
    with pytest.raises(DataError, match="no results here"):
        CliRunner().invoke(app, ["report", f"--from={tmp_path}"], catch_exceptions=False)
    with pytest.raises(SpecError, match="give one of --from and --run"):
        CliRunner().invoke(app, ["report"], catch_exceptions=False)
