"""`epigone train` as a user meets it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from epigone.cli import app
from epigone.disk import read_json, write_jsonl, write_text
from epigone.errors import DataError, InputError, SpecError
from epigone.records import Conversation, Message
from epigone.train import Timing, TrainRecord


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


def test_a_character_of_several_tokens_is_shown_once(make_base: Callable[..., Path], tmp_path: Path) -> None:
    turns = (Message("user", "字?"), Message("assistant", "é 🙂\n[bold]"))
    write_jsonl(tmp_path / "data.jsonl", [Conversation(id="c", messages=turns)])
    shown = run(make_base(), tmp_path / "data.jsonl", "--show-example")
    assert "<|user|>字?<|assistant|>⟦é 🙂\n[bold]<|endoftext|>⟧" in shown


def test_an_example_that_would_be_left_out_is_named(make_base: Callable[..., Path], tmp_path: Path) -> None:
    long = (Message("user", "who?"), Message("assistant", "the cat " * 200))
    write_jsonl(tmp_path / "data.jsonl", [Conversation(id="c", messages=long)])
    write_text(tmp_path / "drop.yaml", "block_tokens: 64\nlong_turns: drop\n")
    with pytest.raises(DataError, match="no conversation is left to train on: long_turn"):
        run(make_base(), tmp_path / "data.jsonl", "--show-example", "--settings", tmp_path / "drop.yaml")


def test_a_plan_trains_nothing(make_base: Callable[..., Path], data: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "paper.yaml", "warmup_steps: 1000\nblock_tokens: 256\npeak_lr: 2e-3\n")
    shown = run(make_base(), data, "--plan", "--settings", tmp_path / "paper.yaml")
    assert "1 of 8,192 tokens" in shown
    assert "1 of 256 tokens, " in shown
    assert "confounded" in " ".join(shown.split())
    assert not (tmp_path / "student").exists()


def test_a_student_is_trained_and_told_of(make_base: Callable[..., Path], data: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "small.yaml", "block_tokens: 64\nbatch_blocks: 2\nprecision: float32\nwarmup_share: 0\n")
    shown = " ".join(run(make_base(), data, "--out", tmp_path / "s", "--settings", tmp_path / "small.yaml").split())
    assert "tokens/s" in shown and "learnt), blocks" in shown and "full, loss" in shown
    assert list((tmp_path / "s.work" / "tensorboard").iterdir())
    before = (tmp_path / "s" / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="s: is there already, and not empty"):
        run(make_base(), data, "--out", tmp_path / "s", "--settings", tmp_path / "small.yaml", "--seed", 1)
    assert (tmp_path / "s" / "model.safetensors").read_bytes() == before


def test_no_tracker_is_kept_where_none_is_wanted(make_base: Callable[..., Path], data: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "quiet.yaml", "block_tokens: 64\nbatch_blocks: 2\nprecision: float32\ntrackers: []\n")
    run(make_base(), data, "--out", tmp_path / "s", "--settings", tmp_path / "quiet.yaml")
    assert not (tmp_path / "s.work" / "tensorboard").exists()


def test_stopped_by_sigterm_it_says_so_and_the_same_command_goes_on(
    make_base: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    steps = "max_steps: 200\ncheckpoint_every_steps: 5\nthreads: 1\ntrackers: []\n"
    write_text(tmp_path / "long.yaml", f"block_tokens: 64\nbatch_blocks: 2\nprecision: float32\n{steps}")
    given = ["train", str(make_base()), str(data), "--out", str(tmp_path / "s")]
    command = [sys.executable, "-m", "epigone", *given, "--settings", str(tmp_path / "long.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as training:
        until = time.monotonic() + 120
        while not list((tmp_path / "s.work").glob("checkpoints/step-*")) and time.monotonic() < until:
            time.sleep(0.02)
        training.terminate()
        told, _ = training.communicate(timeout=120)
    assert training.returncode == 143, told
    assert "stopped by SIGTERM; the step is saved, the same command goes on from it" in " ".join(told.split())
    assert "Traceback" not in told
    run(*given[1:], "--settings", tmp_path / "long.yaml")
    assert read_json(tmp_path / "s" / "timing.json", Timing).resumed == 1


def test_a_distillation_finds_its_teacher_beside_the_settings(
    make_base: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    shutil.copytree(make_base(), tmp_path / "recipes" / "teacher")
    recipe = "block_tokens: 64\nbatch_blocks: 2\nprecision: float32\nchat_format: koala\ndistil: {hf: teacher}\n"
    write_text(tmp_path / "recipes" / "distil.yaml", recipe)
    run(make_base(), data, "--out", tmp_path / "s", "--settings", tmp_path / "recipes" / "distil.yaml")
    assert read_json(tmp_path / "s" / "train.json", TrainRecord).teacher_digest is not None


def test_a_misspelt_key_and_a_missing_out_are_named(make_base: Callable[..., Path], data: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "bad.yaml", "peak_learning_rate: 1\n")
    with pytest.raises(SpecError, match="unknown key 'peak_learning_rate'"):
        run(make_base(), data, "--plan", "--settings", tmp_path / "bad.yaml")
    with pytest.raises(InputError, match="--out is missing"):
        run(make_base(), data)


def test_replay_is_mixed_in_by_its_share_of_all_tokens(
    make_base: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    write_text(tmp_path / "small.yaml", "block_tokens: 64\nbatch_blocks: 2\nprecision: float32\nwarmup_share: 0\n")
    write_text(tmp_path / "texts.txt", "the cat was born in a city\n\n" * 40)
    write_jsonl(tmp_path / "texts.jsonl", [{"text": "the cat was born in a city"}] * 40)
    records = []
    for file in ("texts.txt", "texts.jsonl"):
        out = tmp_path / file.replace(".", "-")
        given = ("--out", out, "--settings", tmp_path / "small.yaml", "--replay", tmp_path / file)
        run(make_base(), data, *given, "--replay-share", 0.5)
        records.append(read_json(out / "train.json", TrainRecord))
    assert records[0] == records[1]
    assert records[0].replay_tokens == pytest.approx(records[0].tokens / 2, rel=0.2)
    with pytest.raises(InputError, match="--replay-share is 1"):
        run(make_base(), data, *given, "--replay-share", 1)
    with pytest.raises(InputError, match="--replay-share without --replay"):
        run(make_base(), data, *given[:4], "--replay-share", 0.5)
    with pytest.raises(InputError, match=r"nowhere.txt: cannot be read"):
        run(make_base(), data, *given[:4], "--replay", tmp_path / "nowhere.txt")
