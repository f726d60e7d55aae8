"""`epigone compare --amount`: students of files as points of a curve over the amount of data."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from epigone.cli import app
from epigone.disk import read_json, write_jsonl
from epigone.errors import SpecError
from epigone.records import ItemScore, Output, Results

RIGHT = {"base": 100, "s1": 90, "s2": 80, "s4": 70}
"""Of 200 items: the share falls by 0.05 with every doubling of the data."""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    for name in ("teacher", *RIGHT):
        outputs = [Output(id=f"i{k}", prompt=f"Question {k}?", response=f"{name} says {k}.") for k in range(200)]
        write_jsonl(tmp_path / f"{name}.jsonl", outputs)
    shares = {"teacher": 200} | RIGHT
    rows = [
        ItemScore(model=model, task="qa", item=f"i{k}", scores={"exact_match": float(k < right)})
        for model, right in shares.items()
        for k in range(200)
    ]
    write_jsonl(tmp_path / "items.jsonl", rows)
    given = [f"--student={name}={tmp_path / name}.jsonl" for name in ("s1", "s2", "s4")]
    files = [f"--teacher=teacher={tmp_path}/teacher.jsonl", f"--base=base={tmp_path}/base.jsonl"]
    return ["compare", *files, *given, f"--items={tmp_path}/items.jsonl", "--out", str(tmp_path / "out")]


def test_the_slope_over_the_amounts_is_that_of_the_scores(command: list[str], tmp_path: Path) -> None:
    amounts = ["--amount=s1=10k", "--amount=s2=20k", "--amount=s4=40000"]
    result = CliRunner().invoke(app, [*command, *amounts])
    assert result.exit_code == 0, result.output
    results = read_json(tmp_path / "out" / "compare.json", Results)
    assert {model.name: model.amount_tokens for model in results.models if model.role == "student"} == {
        "s1": 10_000,
        "s2": 20_000,
        "s4": 40_000,
    }
    flat = next(finding for finding in results.findings if finding.key == "broad_leaves_capability_flat")
    slope = next(value for key, value in flat.estimates.items() if "doubling" in key)
    assert slope.value == pytest.approx(-0.05)
    assert slope.low is not None and slope.high is not None and slope.low < -0.05 < slope.high < 0
    assert flat.verdict == "supported"


def test_without_amounts_there_is_no_slope(command: list[str], tmp_path: Path) -> None:
    assert CliRunner().invoke(app, command).exit_code == 0
    results = read_json(tmp_path / "out" / "compare.json", Results)
    assert not any("doubling" in key for finding in results.findings for key in finding.estimates)


@pytest.mark.parametrize("amount", ["s9=10k", "10k", "s1=many", "s1=all", "s1=0"])
def test_an_amount_of_nobody_or_of_nothing_is_refused(command: list[str], amount: str) -> None:
    result = CliRunner().invoke(app, [*command, "--amount", amount])
    assert isinstance(result.exception, SpecError)
    assert "--amount" in str(result.exception)
