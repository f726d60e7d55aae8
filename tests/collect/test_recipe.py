"""A collection as one file, its forecast, and `epigone collect` on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import epigone.collect
from epigone.cli import app
from epigone.collect import forecast, read_recipe, write_records
from epigone.errors import DataError, SpecError
from epigone.records import Conversation, Drop, Message

API = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
PRICE = {"input_usd_per_million": 1.0, "output_usd_per_million": 2.0}


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def write_seeds(folder: Path) -> None:
    rows = [{"question": f"question {i}", "answer": f"answer {i}"} for i in range(10)]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def invoke(*arguments: str | Path) -> tuple[int, str]:
    """(exit code, output), where an error of ours shows as the words that the command line prints."""
    result = CliRunner().invoke(app, ["collect", *map(str, arguments)])
    code = getattr(result.exception, "exit_code", result.exit_code)
    return code, result.output + (str(result.exception) if result.exception else "")


def test_the_public_surface_is_what_the_seams_name() -> None:
    assert epigone.collect.__all__ == [
        "PAIRS_PER_REPLY",
        "AnswerSpec", "Collected", "Forecast", "ImportSpec", "PairFormat", "PassageSummary", "QuestionAnswer",
        "RecipeSpec", "SummariesSpec", "SynthesizeSpec", "answer", "answer_requests", "forecast", "import_dump",
        "normalise_question", "parse_pairs", "read_examples", "read_passages", "read_prompts", "read_recipe",
        "read_seeds", "run_recipe", "summary_requests", "synthesize", "synthesize_requests", "write_collected",
        "write_records", "write_summaries",
    ]  # fmt: skip


def test_paths_are_taken_from_the_recipes_folder(tmp_path: Path) -> None:
    write_seeds(tmp_path)
    spec = {"synthesize": {"seeds": "seeds.jsonl", "template": "/abs/ask.jinja"}, "exclude": ["test.jsonl"]}
    recipe = read_recipe(write(tmp_path, {"teacher": {"api": API}} | spec))
    assert recipe.synthesize is not None
    assert recipe.synthesize.seeds == tmp_path / "seeds.jsonl"
    assert recipe.synthesize.template == Path("/abs/ask.jinja")
    assert recipe.exclude == (tmp_path / "test.jsonl",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"teacher": {"api": API}}, "exactly one of 'synthesize'"),
        ({"teacher": {"api": API}, "answer": {}, "synthesize": {}}, "exactly one of 'synthesize'"),
        ({"answer": {}}, "the key 'teacher' is missing"),
        ({"teacher": {}, "answer": {}}, "exactly one of 'api', 'local' and 'serve'"),
        ({"teacher": {"api": API}, "anser": {}}, "did you mean 'answer'"),
        ({"teacher": {"api": API}, "answer": {}, "exclude": ["x"]}, "goes with 'synthesize'"),
        ({"teacher": {"api": API}, "synthesize": {"shots": 2, "grown_shots": 3}}, "cannot be larger than shots"),
        ({"teacher": {"api": API | {"key": "sk-1"}}, "answer": {}}, "unknown key"),
        ({"teacher": {"api": API}, "answer": {"prompts": "p"}, "budget": {"usd": 5}}, "budget.usd cannot hold"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_key(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_recipe(write(tmp_path, content))


def test_the_forecast_of_a_synthesis(tmp_path: Path) -> None:
    """6,000 pairs at ten a reply are 600 requests, at one a reply 6,000; prompts of 400 characters are 100 tokens."""
    write_seeds(tmp_path)
    (tmp_path / "ask.jinja").write_text("x" * 400)
    task = {"seeds": "seeds.jsonl", "target": 6000, "max_tokens": 500, "template": "ask.jinja"}
    found = forecast(
        read_recipe(write(tmp_path, {"teacher": {"api": API | {"price": PRICE}}, "synthesize": task})), seed=0
    )
    assert found.requests == 600
    assert found.prompt_tokens == 600 * 100
    assert (found.completion_tokens, found.most_completion_tokens) == (600 * 250, 6000 * 500)
    assert (found.most_requests, found.most_prompt_tokens) == (6000, 6000 * 100)
    assert found.usd == pytest.approx(0.06 + 0.30)
    assert found.most_usd == pytest.approx(0.60 + 6.00)
    assert len(found.first) == 2


def test_the_forecast_of_dialogues_counts_what_later_turns_carry(tmp_path: Path) -> None:
    """Turns of 40 characters (10 tokens), replies of 50 of 100 tokens: prompts of 10, 10+50+10, 10+50+10+50+10."""
    (tmp_path / "p.jsonl").write_text(json.dumps({"turns": ["a" * 40] * 3}) + "\n" + json.dumps({"prompt": "b" * 40}))
    task = {"prompts": "p.jsonl", "max_tokens": 100, "samples": 2}
    found = forecast(read_recipe(write(tmp_path, {"teacher": {"api": API}, "answer": task})), seed=0)
    assert found.requests == 8
    assert found.prompt_tokens == 2 * (10 + 70 + 130 + 10)
    assert found.completion_tokens == 8 * 50
    assert found.usd is None


def test_a_dry_run_shows_the_first_requests_in_full_and_the_cost_and_asks_nothing(tmp_path: Path) -> None:
    write_seeds(tmp_path)
    path = write(
        tmp_path,
        {
            "teacher": {"api": API | {"price": PRICE, "key_env": "NO_SUCH_KEY"}},
            "synthesize": {"seeds": "seeds.jsonl", "target": 100},
        },
    )
    code, output = invoke(path, "--dry-run", "--show", "1")
    assert code == 0
    assert "request 1 of about 10" in output
    assert output.count("Q: question") == 5
    assert "Do not repeat an example." in output
    assert re.search(r"cost +\$0\.0064 +\$0\.11\n", output)
    assert "Neither is a bound: only a budget is." in output
    assert max(map(len, output.split("Write ten")[0].splitlines())) <= 80


def test_batches_can_be_chosen_on_the_command_line_and_their_price_is_shown(tmp_path: Path) -> None:
    """10 replies of 256 tokens are $5.12 at $2,000 a million; high: 100 of 512 are $102.40; half as a batch."""
    write_seeds(tmp_path)
    price = {"input_usd_per_million": 0.0, "output_usd_per_million": 2000.0}
    content = {
        "teacher": {"api": API | {"price": price}},
        "budget": {"usd": 7.5, "tokens": 90000},
        "synthesize": {"seeds": "seeds.jsonl", "target": 100},
    }
    path = write(tmp_path, content)
    plain, batches = invoke(path, "--dry-run")[1], invoke(path, "--dry-run", "--batch")[1]
    assert "$5.12 $102.40" in " ".join(plain.split())
    assert "$2.56 $51.20" in " ".join(batches.split())
    assert "budget $7.50, 90,000 tokens" in " ".join(batches.split())
    assert "Sent as batches: 50% of the price" in batches
    assert "Sent as batches" not in plain
    assert batches.endswith("Nothing was asked.\n")


def test_a_dump_is_imported_and_a_cut_is_said_or_refused(tmp_path: Path) -> None:
    dump = tmp_path / "dump.json"
    turns = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    dump.write_text(json.dumps([{"id": "a", "conversations": turns}, {"id": "b", "conversations": turns}])[:-9])
    code, output = invoke(dump, "--format", "sharegpt", "--out", tmp_path / "out", "--terms", "CC0")
    assert code == 0
    assert "cut: the file ends in the middle of a record: 1 complete records before it" in output
    (line,) = (tmp_path / "out" / "conversations.jsonl").read_text().splitlines()
    assert json.loads(line)["terms"] == "CC0"
    assert json.loads((tmp_path / "out" / "collected.json").read_text())["stats"] == {
        "conversations": 1.0,
        "dropped.file_cut": 1.0,
    }
    code, output = invoke(dump, "--format", "sharegpt", "--out", tmp_path / "other", "--refuse-cut")
    assert code == 2
    assert not (tmp_path / "other" / "conversations.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.yaml", "--out", "x"], "cannot be read"),
        (["dump.json", "--out", "x"], "say --format for a dump"),
        (["dump.json", "--format", "sharegtp", "--out", "x"], "sharegpt"),
        (["dump.json", "--format", "sharegpt"], "--out DIR"),
        (["nowhere.json", "--format", "sharegpt", "--out", "x"], "nowhere.json: cannot be read"),
        (["no-such-organisation/data", "--format", "messages", "--out", "x"], "hub data set no-such-organisation/data"),
        (["recipe.yaml", "--out", "x", "--batch"], "only an API has a batch endpoint"),
        (["recipe.yaml", "--dry-run"], "an import asks no model"),
    ],
)
def test_mistakes_on_the_command_line_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    write(tmp_path, {"import": [{"sharegpt": "dump.json"}]})
    code, output = invoke(*arguments)
    assert code == 2
    assert message in output


def test_a_stream_that_breaks_leaves_what_was_there_before(tmp_path: Path) -> None:
    kept = Conversation(id="a", messages=(Message("user", "hi"),))
    write_records([kept, Drop(id="b", step="import", reason="empty")], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"conversations.jsonl", "drops.jsonl", "collected.json"}

    def broken() -> Any:
        yield kept
        raise DataError("broken")

    with pytest.raises(DataError, match="broken"):
        write_records(broken(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
