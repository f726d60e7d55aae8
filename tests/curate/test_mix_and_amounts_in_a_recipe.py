"""A recipe measures data out in tokens of a real tokenizer: sources by share, nested amounts, replay beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from epigone.cli import app
from epigone.curate import CurateSpec, TokenizerSpec, curate
from epigone.disk import read_json, read_jsonl, write_jsonl, write_yaml
from epigone.errors import SpecError
from epigone.records import Conversation, Drop, Message
from epigone.specs import parse_spec
from epigone.study import StudentTokens
from epigone.train import TrainSpec, count_conversation_tokens, count_text_tokens


def dialogues(source: str, count: int, words: int) -> list[Conversation]:
    return [
        Conversation(
            id=f"{source}-{number:03}",
            messages=(
                Message(role="user", content=f"Question {number} of {source}?"),
                Message(role="assistant", content=" ".join(["word"] * (words + number % 5))),
            ),
            source=source,
        )
        for number in range(count)
    ]


DATA = dialogues("sharegpt", 60, 30) + dialogues("hc3", 60, 8) + dialogues("other", 5, 10)
TEXTS = [{"text": f"Text {number} " + "of the harbour " * (number % 7 + 1)} for number in range(200)]


def run(folder: Path, recipe: dict[str, Any], tiny_base: Path) -> Path:
    """The command on DATA, its recipe's paths relative to the recipe."""
    recipe["tokenizer"] = {"hf": str(tiny_base), "name": "tiny"}
    write_yaml(folder / "recipe.yaml", recipe)
    write_jsonl(folder / "in.jsonl", DATA)
    write_jsonl(folder / "texts.jsonl", TEXTS)
    command = ["curate", str(folder / "recipe.yaml"), str(folder / "in.jsonl"), "--out", str(folder / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return folder / "out"


def test_a_recipe_mixes_cuts_and_adds_replay_by_the_student_s_own_tokens(tmp_path: Path, tiny_base: Path) -> None:
    steps = [
        "clean",
        {"mix": {"shares": {"sharegpt": 0.6, "hc3": 0.4}}},
        {"amounts": {"tokens": ["0.4k", 1000, "all"], "replay": {"share": 0.25, "texts": "texts.jsonl"}}},
    ]
    out = run(tmp_path, {"steps": steps}, tiny_base)
    kept = read_jsonl(out / "conversations.jsonl", Conversation)
    counts = count_conversation_tokens(tiny_base, kept, TrainSpec())
    facts = read_json(out / "curated.json", dict[str, Any])

    by_source = {name: sum(n for one, n in zip(kept, counts, strict=True) if one.source == name) for name in
                 ("sharegpt", "hc3", "other")}  # fmt: skip
    assert by_source["other"] == 0
    assert by_source["sharegpt"] / sum(counts) == pytest.approx(0.6, abs=0.03)
    assert {row["source"]: row["tokens"] for row in facts["mix"]} == {
        "sharegpt": by_source["sharegpt"], "hc3": by_source["hc3"],
    }  # fmt: skip
    reasons = {drop.reason for drop in read_jsonl(out / "drops.jsonl", Drop)}
    assert reasons == {"over_share", "source_not_in_mix"}

    replay = [line["text"] for line in read_jsonl(out / "replay.jsonl", dict[str, str])]
    replay_counts = count_text_tokens(tiny_base, replay)
    assert [row["amount"] for row in facts["amounts"]] == [400, 1000, sum(counts)]
    for row in facts["amounts"]:
        held = sum(counts[: row["conversations"]])
        assert held == row["tokens"] >= row["amount"] > held - counts[row["conversations"] - 1]
        with_replay = sum(replay_counts[: row["replay_texts"]])
        assert with_replay == row["replay_tokens"] >= round(row["tokens"] / 3)  # D · 0.25 / 0.75
        assert with_replay - replay_counts[row["replay_texts"] - 1] < round(row["tokens"] / 3)
    assert len(replay) == facts["amounts"][-1]["replay_texts"]

    card = (out / "card.md").read_text()
    assert f"{sum(counts):,} tokens in all, counted by the tokenizer of tiny" in card
    assert facts["tokens"] == sum(counts)
    assert "## Mixture" in card and "## Amounts" in card


def test_what_no_amount_needs_is_dropped_and_a_smaller_amount_begins_a_larger(tmp_path: Path, tiny_base: Path) -> None:
    ids = {}
    for name, amounts in (("small", [300]), ("large", [300, 900])):
        folder = tmp_path / name
        folder.mkdir()
        out = run(folder, {"steps": [{"amounts": {"tokens": amounts}}]}, tiny_base)
        ids[name] = [one.id for one in read_jsonl(out / "conversations.jsonl", Conversation)]
        drops = read_jsonl(out / "drops.jsonl", Drop)
        assert {drop.reason for drop in drops} == {"beyond_largest_amount"}
        assert len(drops) + len(ids[name]) == len(DATA)
    assert ids["large"][: len(ids["small"])] == ids["small"]
    assert len(ids["large"]) > len(ids["small"])


def test_markers_of_the_chat_format_count(tiny_base: Path) -> None:
    counts = {
        form: sum(StudentTokens(TokenizerSpec(hf=str(tiny_base), chat_format=form)).conversations(DATA[:9]))  # type: ignore[arg-type]
        for form in ("turn_tokens", "koala")
    }
    assert counts["turn_tokens"] < counts["koala"]  # two tokens a turn against `USER: ` and `GPT:` written out


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ({"steps": [{"mix": {"shares": {"a": 1.0}}}]}, "name a 'tokenizer'"),
        ({"steps": [{"amounts": {"tokens": ["20X"]}}], "tokenizer": {"hf": "x"}}, "such as 300000, 40k or 20M"),
        ({"steps": [{"mix": {"shares": {"a": 0.5, "b": 0.4}}}], "tokenizer": {"hf": "x"}}, "sum to 0.9, not to 1"),
        ({"steps": [{"mix": {"shares": {"a": 1}}}, "deduplicate"], "tokenizer": {"hf": "x"}}, "would change what it"),
        ({"steps": [{"amounts": {"tokens": [1]}}, {"mix": {"shares": {"a": 1}}}], "tokenizer": {"hf": "x"}}, "after"),
    ],
)
def test_a_recipe_that_cannot_keep_its_measure_is_refused(recipe: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        parse_spec(CurateSpec, recipe, where="recipe.yaml")


def test_a_missing_tokenizer_a_source_that_is_not_there_and_too_large_an_amount_are_said(
    tmp_path: Path, tiny_base: Path
) -> None:
    def fails(steps: list[Any], hf: str) -> str:
        write_yaml(tmp_path / "r.yaml", {"steps": steps, "tokenizer": {"hf": hf}})
        write_jsonl(tmp_path / "in.jsonl", DATA)
        result = CliRunner().invoke(
            app, ["curate", str(tmp_path / "r.yaml"), str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "o")]
        )
        assert result.exit_code != 0
        return str(result.exception)

    assert "nothing/here" in fails(["clean"], "./nothing/here")
    assert "no tokens of source hc33" in fails([{"mix": {"shares": {"hc33": 1}}}], str(tiny_base))
    assert "9,000,000 tokens are wanted" in fails([{"amounts": {"tokens": ["9M"]}}], str(tiny_base))
    with pytest.raises(SpecError, match="nothing was given that counts"):
        curate(
            CurateSpec.model_validate({"steps": [{"amounts": {"tokens": [1]}}], "tokenizer": {"hf": "x"}}), [], seed=0
        )


def test_every_recipe_in_the_documentation_is_valid() -> None:
    page = (Path(__file__).parents[2] / "docs" / "curate.md").read_text()
    recipes = [block.split("```")[0] for block in page.split("```yaml\n")[1:] if "steps:" in block.split("```")[0]]
    assert recipes
    for recipe in recipes:
        parse_spec(CurateSpec, yaml.safe_load(recipe), where="docs/curate.md")
