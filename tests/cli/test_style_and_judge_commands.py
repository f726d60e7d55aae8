"""`epigone style` and `epigone judge` from files alone: results, pages, lists of what did not match, clear errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from epigone.cli import app
from epigone.errors import DataError, EpigoneError, SpecError
from epigone.models import RequestCache

LIST = "Here are two things:\n\n1. red {k}\n2. green\n\nIn summary, red and green matter."
PROSE = "There is red {k} and there is green, and both of them matter to those who look."


def write(
    path: Path, template: str, *, n: int = 60, model: str = "", extra: tuple[dict[str, object], ...] = ()
) -> Path:
    rows: list[dict[str, object]] = [
        {"id": str(k), "prompt": f"What is {k}?", "response": template.format(k=k) + " Yes." * (k % 5), "model": model}
        for k in range(n)
    ]
    path.write_text("\n".join(json.dumps(row) for row in [*rows, *extra]))
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    extra: tuple[dict[str, object], ...] = ({"id": "odd", "prompt": "Odd?", "response": "x"},)
    return {
        "teacher": str(write(tmp_path / "t.jsonl", LIST, model="big")),
        "second": str(write(tmp_path / "t2.jsonl", LIST.replace("green", "blue"), model="big")),
        "student": str(write(tmp_path / "s.jsonl", LIST.replace("matter", "count"), model="small", extra=extra)),
        "base": str(write(tmp_path / "b.jsonl", PROSE, model="raw")),
    }


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, EpigoneError):
        raise result.exception
    return result


def test_style_writes_estimates_page_and_what_did_not_match(files: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(
        "style", "--teacher", files["teacher"], "--student", files["student"], "--base", files["base"],
        "--second-teacher", files["second"], "--out", str(out), "--resamples", "200",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads((out / "style.json").read_text())
    assert (found["teacher"], found["ceiling"], found["items"], found["unmatched"]) == ("big", "second_sample", 60, 1)
    lists = {model: axes["style.list_agreement"] for model, axes in found["results"]["estimates"].items() if axes}
    assert {model: estimate["value"] for model, estimate in lists.items()} == {"big#2": 1.0, "raw": 0.0, "small": 1.0}
    assert set(lists["small"]) == {"value", "low", "high", "n_scored", "n_total", "method"}
    closed = found["style_closed"]["small"]
    assert closed["low"] <= closed["value"] <= closed["high"]
    assert closed["value"] == pytest.approx(1, abs=0.1)
    assert found["classifier"]["raw"]["auc"]["value"] == 1.0
    assert [json.loads(line)["id"] for line in (out / "unmatched.jsonl").read_text().splitlines()] == ["odd"]
    page = (out / "index.html").read_text()
    assert "style closed" in page.lower()
    assert "1 unmatched" in result.output


def test_without_a_second_sample_style_closed_is_called_a_lower_bound(files: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(
        "style", "--teacher", files["teacher"], "--student", files["student"], "--base", files["base"],
        "--out", str(out), "--resamples", "200",
    )  # fmt: skip
    found = json.loads((out / "style.json").read_text())
    assert found["ceiling"] == "perfect_copy"
    assert "lower bound" in found["ceiling_note"]
    halves = found["classifier"]["teacher, split in halves"]["auc"]
    assert halves["n_scored"] == 30
    assert halves["low"] < 0.5 < halves["high"], "two halves of one model"
    assert "the teacher's halves" in result.output
    assert "at least" in result.output
    assert found["shuffled"]["style.list_agreement"]["value"] == 1.0, "every answer of this teacher has a list"


def test_a_second_sample_in_the_teachers_own_file_is_the_ceiling(files: dict[str, str], tmp_path: Path) -> None:
    both = tmp_path / "both.jsonl"
    both.write_text(Path(files["teacher"]).read_text() + "\n" + Path(files["second"]).read_text())
    run("style", "--teacher", f"big={both}", "--student", files["student"], "--out", str(tmp_path / "out"))
    found = json.loads((tmp_path / "out" / "style.json").read_text())
    assert found["ceiling"] == "second_sample"
    assert "big#2" in found["results"]["estimates"]


def test_a_student_below_its_base_somewhere_has_no_lower_bound(files: dict[str, str], tmp_path: Path) -> None:
    half = tmp_path / "half.jsonl"
    lines, prose = (Path(files[role]).read_text().splitlines() for role in ("student", "base"))
    half.write_text("\n".join([*lines[:30], *prose[30:]]))
    common = ("style", "--teacher", files["teacher"], "--resamples", "100", "--out", str(tmp_path / "out"))
    result = run(*common, "--base", str(half), "--student", files["student"], "--student", f"worse={files['base']}")
    said = " ".join(result.output.split())
    assert "note: worse is further from the teacher than its base in lists when the teacher lists;" in said
    assert "its style closed bounds nothing" in said
    assert "note: small" not in said
    assert "at least" not in said
    assert "worse is further from the teacher" in (tmp_path / "out" / "index.html").read_text()
    without = run(*common, "--student", files["student"])
    assert "without the outputs of a base (--base)" in " ".join(without.output.split())


def test_the_same_files_and_seed_give_the_same_bytes(files: dict[str, str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        run("style", "--teacher", files["teacher"], "--student", files["student"], "--out", str(tmp_path / name))
    assert (tmp_path / "one" / "style.json").read_bytes() == (tmp_path / "two" / "style.json").read_bytes()


def test_wrong_files_are_named(files: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"id": "zz", "prompt": "Unheard of", "response": "x"}')
    out = ("--out", str(tmp_path / "out"))
    with pytest.raises(SpecError, match="has no item in common with big"):
        run("style", "--teacher", files["teacher"], "--student", str(other), *out)
    with pytest.raises(SpecError, match="two files go by the name 'small'"):
        run("style", "--teacher", files["teacher"], "--student", files["student"], "--student", files["student"], *out)
    with pytest.raises(DataError, match="cannot be read"):
        run("style", "--teacher", str(tmp_path / "none"), "--student", files["student"], *out)


@pytest.fixture
def address(serve_chat: Callable[[Callable[[list[dict[str, str]]], str]], str]) -> str:
    """An endpoint that always gives the first answer 9 points and the second 4, and hears authority in lists."""

    def reply(messages: list[dict[str, str]]) -> str:
        asked = messages[-1]["content"]
        if "authoritative tone" in asked:
            return "Yes." if "1. red" in asked else "no"
        return "9 4\nThe first is better."

    return serve_chat(reply)


def test_judge_shows_the_cost_first_and_reports_a_position_bias(
    files: dict[str, str], tmp_path: Path, address: str
) -> None:
    config = tmp_path / "judge.yaml"
    config.write_text(
        f"name: biased\nmax_tokens: 100\napi:\n  base_url: {address}\n  model: m\n"
        "  price: {input_usd_per_million: 1, output_usd_per_million: 10}\n"
    )
    references = tmp_path / "references.jsonl"
    references.write_text("\n".join(json.dumps({"id": str(k), "answers": ["Matter."]}) for k in range(20)))
    out = tmp_path / "out"
    common = (
        "judge", "--teacher", files["teacher"], "--student", files["student"], "--judge", str(config),
        "--references", str(references), "--attack-pairs", "2", "--out", str(out),
    )  # fmt: skip
    with pytest.raises(SpecError, match="may cost money"):
        run(*common)
    planned = run(*common, "--plan")
    assert "biased: 120 questions" in planned.output
    assert "biased: 80 more to try the attacks" in planned.output, "20 attacks on 2 pairs in 2 orders"
    assert "at most $" in planned.output
    assert not (out / "judge.json").exists()
    result = run(*common, "--yes")
    assert result.exit_code == 0, result.output
    found = json.loads((out / "judge.json").read_text())
    axes = found["results"]["estimates"]["small"]
    assert axes["preference.llm_judge.first_position_share"]["value"] == 1.0
    assert axes["preference.llm_judge.flip_share"]["value"] == 1.0
    assert axes["preference.llm_judge.win_rate"]["value"] == 0.5
    assert found["votes"] == {"biased": {"ok": 120}}
    assert "0.50 [no interval]" in result.output
    warning = "on small the verdict flips with the order for 100% of the pairs; each flip is a tie"
    assert warning in " ".join(result.output.split())
    assert warning in (out / "index.html").read_text()
    deceived = axes["preference.llm_judge.deception"]
    assert (deceived["value"], deceived["n_scored"]) == (1.0, 20), "all ties; 'matter' is what the student never says"
    assert axes["preference.llm_judge.length_controlled_win_rate"]["value"] == pytest.approx(0.5)
    assert axes["preference.llm_judge.style_controlled_win_rate"]["value"] == pytest.approx(0.5)
    assert len(found["attacks"]["biased"]) == 20
    assert len((out / "votes.jsonl").read_text().splitlines()) == 120
    assert "biased" in (out / "index.html").read_text()


def test_a_trial_on_a_few_items_is_part_of_the_whole(files: dict[str, str], tmp_path: Path, address: str) -> None:
    config, out = tmp_path / "judge.yaml", tmp_path / "out"
    config.write_text(f"name: biased\nmax_tokens: 100\napi: {{base_url: {address}, model: m}}\n")
    common = ("judge", "--teacher", files["teacher"], "--student", files["student"], "--judge", str(config))
    judged: list[set[str]] = []
    for items in (["--items", "5"], ["--items", "12"], []):
        assert run(*common, "--out", str(out), "--yes", *items).exit_code == 0
        votes = [json.loads(line) for line in (out / "votes.jsonl").read_text().splitlines()]
        judged.append({vote["item"] for vote in votes})
        assert len(votes) == 2 * len(judged[-1]), "both orders"
        assert RequestCache(out / "requests.sqlite").usage().replies == len(votes), "nothing was asked twice"
    assert [len(found) for found in judged] == [5, 12, 60]
    assert judged[0] < judged[1] < judged[2]


def test_a_judge_hears_the_tone_after_its_cost_was_shown(files: dict[str, str], tmp_path: Path, address: str) -> None:
    config = tmp_path / "judge.yaml"
    config.write_text(
        f"name: ear\napi: {{base_url: '{address}', model: m, price: {{input_usd_per_million: 1, "
        "output_usd_per_million: 10}}\n"
    )
    out = tmp_path / "out"
    common = (
        "style", "--teacher", files["teacher"], "--student", files["student"], "--base", files["base"],
        "--out", str(out), "--resamples", "200", "--tone-judge", str(config),
    )  # fmt: skip
    with pytest.raises(SpecError, match="may cost money"):
        run(*common)
    planned = run(*common, "--plan")
    assert "ear: 180 texts to hear" in planned.output, "60 each of teacher, student and base"
    assert "at most $" in planned.output
    assert not (out / "style.json").exists()
    result = run(*common, "--yes")
    assert result.exit_code == 0, result.output
    found = json.loads((out / "style.json").read_text())["results"]
    heard = {model: axes.get("tone.authoritative_tone") for model, axes in found["estimates"].items()}
    assert {model: tone["value"] for model, tone in heard.items() if tone} == {"big": 1.0, "small": 1.0, "raw": 0.0}
    assert heard["raw"]["high"] > 0, "Wilson's interval of 0 of 60"
    assert "authoritative tone (LLM judge)" in (out / "index.html").read_text()
    rows = [json.loads(line) for line in (out / "items.jsonl").read_text().splitlines()]
    assert sum(row["task"] == "tone" for row in rows) == 180
    config.write_text(f"likelihood: {{base_url: '{address}', model: m}}\n")
    with pytest.raises(SpecError, match="hears no tone"):
        run(*common)


def test_peoples_votes_are_joined_with_the_judges(files: dict[str, str], tmp_path: Path, address: str) -> None:
    config = tmp_path / "judge.yaml"
    config.write_text(f"name: biased\nmax_tokens: 100\norders: one\napi: {{base_url: '{address}', model: m}}\n")
    people = tmp_path / "people.jsonl"
    rows = [
        {"item": str(k), "student": "small", "teacher": "big", "voter": voter, "kind": "person", "choice": choice}
        for k in range(60)
        for voter, choice in (("ann", "student"), ("bob", "student"), ("cem", "teacher"))
    ]
    people.write_text("\n".join(json.dumps(row) for row in rows))
    out = tmp_path / "out"
    common = ("judge", "--teacher", files["teacher"], "--student", files["student"], "--out", str(out))
    result = run(*common, "--judge", str(config), "--votes", str(people), "--yes")
    assert result.exit_code == 0, result.output
    axes = json.loads((out / "judge.json").read_text())["results"]["estimates"]["small"]
    assert axes["preference.person.equal_or_better"]["value"] == 1.0
    assert axes["preference.person.human_ceiling"]["n_scored"] == 60
    votes = [json.loads(line) for line in (out / "votes.jsonl").read_text().splitlines()]
    said = [vote["choice"] == "student" for vote in votes if vote["kind"] == "llm_judge"]
    assert axes["preference.llm_judge.agreement_with_people"]["value"] == pytest.approx(sum(said) / 60)
    with pytest.raises(SpecError, match="nobody judges"):
        run(*common)
    people.write_text(json.dumps(rows[0] | {"student": "stranger"}))
    with pytest.raises(DataError, match=r"people.jsonl:1: a vote on 'stranger'"):
        run(*common, "--votes", str(people))
