"""One token a word; what is written comes back; nothing of the world is unknown."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from epigone.microworld.corpus import count_words


@pytest.fixture(scope="module")
def tokenizer(world_folder: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(world_folder / "tokenizer")


def texts(world_folder: Path) -> list[str]:
    lines = (world_folder / "corpus.jsonl").read_bytes().splitlines()[:2000]
    found = [msgspec.json.decode(line)["text"] for line in lines]
    for line in (world_folder / "instructions.jsonl").read_bytes().splitlines():
        found += [message["content"] for message in msgspec.json.decode(line)["messages"]]
    for file in ("broad.jsonl", "held-out.jsonl", "toxicity.jsonl"):
        found += [msgspec.json.decode(line)["prompt"] for line in (world_folder / file).read_bytes().splitlines()]
    return found


def test_every_text_of_the_world_decodes_to_itself(tokenizer: PreTrainedTokenizerFast, world_folder: Path) -> None:
    for text in texts(world_folder):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_no_text_of_the_world_holds_an_unknown_word(tokenizer: PreTrainedTokenizerFast, world_folder: Path) -> None:
    for text in texts(world_folder):
        assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"], text


def test_its_token_count_is_the_one_that_the_corpus_is_measured_with(
    tokenizer: PreTrainedTokenizerFast, world_folder: Path
) -> None:
    for text in texts(world_folder)[:500]:
        assert len(tokenizer(text)["input_ids"]) == count_words(text)


def test_a_word_has_the_same_token_wherever_it_stands(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer("A: poet")["input_ids"][-1] == tokenizer("poet.\n")["input_ids"][0]


def test_an_unknown_word_is_unknown_and_nothing_breaks(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer("Zzyzx")["input_ids"] == [tokenizer.unk_token_id]
