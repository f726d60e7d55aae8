"""Bases and teacher come out of the users' own training code, as folders that transformers loads."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from epigone.disk import digest_file
from epigone.microworld import SCALES, WorldModel
from epigone.microworld.world_models import pretrain_model, read_corpus, tune_model


def small(name: str, tokens: int) -> WorldModel:
    model = next(model for model in SCALES["smoke"].models if model.name == name)
    return msgspec.structs.replace(model, corpus_tokens=tokens)


def test_a_shorter_training_reads_a_prefix_of_the_corpus_of_a_longer_one(world_folder: Path) -> None:
    short, long = list(read_corpus(world_folder, 2_000)), list(read_corpus(world_folder, 10_000))
    assert long[: len(short)] == short
    assert 3 * len(short) < len(long)


@pytest.mark.slow
def test_a_base_is_built_twice_the_same_and_has_begun_to_learn_the_corpus(world_folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        pretrain_model(world_folder, small("base-s", 30_000), tmp_path / name, seed=0)
    weights = [digest_file(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    assert weights[0] == weights[1]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "one")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "one")
    text = tokenizer("\n\n".join(list(read_corpus(world_folder, 60_000))[-20:]), return_tensors="pt")["input_ids"][
        :, :256
    ]
    with torch.no_grad():
        loss = model(input_ids=text, labels=text).loss.item()
    assert loss < 0.75 * torch.log(torch.tensor(float(len(tokenizer)))).item()  # uniform guessing: log V


@pytest.mark.slow
def test_the_teacher_is_tuned_on_the_instruction_data_and_carries_a_chat_template(
    world_folder: Path, tmp_path: Path
) -> None:
    recipe = small("teacher", 20_000)
    pretrain_model(world_folder, recipe, tmp_path / "pretrained", seed=0)
    tune_model(world_folder, recipe, tmp_path / "pretrained", tmp_path / "teacher", seed=0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "teacher")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello!"}], tokenize=False, add_generation_prompt=True
    )
    assert "Hello!" in prompt
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "teacher").get_input_embeddings().num_embeddings == len(
        tokenizer
    )
