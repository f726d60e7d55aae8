"""`epigone train` as a user meets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from epigone.cli import app
from epigone.disk import write_jsonl, write_text
from epigone.errors import InputError, SpecError
from epigone.records import Conversation, Message


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def data(tmp_path: Path) -> Path:
    turns = (Message("user", "who is old?"), Message("assistant", "the cat"))
    write_jsonl(tmp_path / "data.jsonl", [Conversation(id=f"c{number}", messages=turns) for number in range(6)])
    return tmp_path / "data.jsonl"


def test_an_example_shows_what_is_learnt(make_base: Callable[..., Path], data: Path) -> None:
    shown = run(make_base(), data, "--show-example")
    assert "<|user|>who is old?<|assistant|>⟦the cat<|endoftext|>⟧" in shown


def test_a_plan_trains_nothing(make_base: Callable[..., Path], data: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "paper.yaml", "warmup_steps: 1000\nblock_tokens: 256\npeak_lr: 2e-3\n")
    shown = run(make_base(), data, "--plan", "--settings", tmp_path / "paper.yaml")
    assert "1 of 8,192 tokens" in shown
    assert "confounded" in " ".join(shown.split())
    assert not (tmp_path / "student").exists()


def test_a_student_is_trained_and_told_of(make_base: Callable[..., Path], data: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "small.yaml", "block_tokens: 64\nbatch_blocks: 2\nprecision: float32\nwarmup_share: 0\n")
    shown = " ".join(run(make_base(), data, "--out", tmp_path / "s", "--settings", tmp_path / "small.yaml").split())
    assert "tokens/s" in shown and "learnt), loss" in shown
    assert (tmp_path / "s" / "model.safetensors").exists()


def test_a_misspelt_key_and_a_missing_out_are_named(make_base: Callable[..., Path], data: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "bad.yaml", "peak_learning_rate: 1\n")
    with pytest.raises(SpecError, match="unknown key 'peak_learning_rate'"):
        run(make_base(), data, "--plan", "--settings", tmp_path / "bad.yaml")
    with pytest.raises(InputError, match="--out is missing"):
        run(make_base(), data)
