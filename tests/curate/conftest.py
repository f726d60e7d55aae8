"""Tiny real models, made on the spot: a base whose tokenizer counts, and a student of it that has learnt to label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from epigone.curate import CategoryDefinitions, label_queries
from epigone.models import Progress
from epigone.records import Conversation, Message, Reply, Request, ScoreReply, ScoreRequest

SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Sort the request. Answer with the category's name alone.",
    "In 1912 the harbour of Kiel was closed for the winter, and nobody knew why.",
]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder: a llama of two layers and a byte-level tokenizer of 400 tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(SENTENCES * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|end|>")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2}
    config = LlamaConfig(
        vocab_size=len(tokenizer), num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512,
        bos_token_id=None, eos_token_id=0, pad_token_id=0, **sizes,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("base") / "tiny"
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class _Noting:
    """Notes what it is asked and answers nothing: to learn the judge's questions in their own words."""

    name = "noting"
    parameters = None

    def __init__(self) -> None:
        self.asked: list[str] = []

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        self.asked += [(request.messages or ())[0].content for request in requests]
        return [Reply(status="ok", text="") for _ in requests]

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:
        raise NotImplementedError

    def count_tokens(self, text: str) -> int | None:
        return None

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def teach_labelling(
    tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[dict[str, str], CategoryDefinitions], Path]:
    """Train a student that answers the judge's question on each given query with a given word."""

    def teach(answers: dict[str, str], definitions: CategoryDefinitions) -> Path:
        from epigone.train import TrainSpec, train_student

        noting = _Noting()
        label_queries([(query, query) for query in answers], definitions, noting, seed=0)
        lessons = [
            Conversation(
                id=str(number),
                messages=(Message(role="user", content=question), Message(role="assistant", content=word)),
            )
            for number, (question, word) in enumerate(zip(noting.asked, answers.values(), strict=True))
        ]
        spec = TrainSpec(
            block_tokens=512, packing="none", batch_blocks=len(lessons), max_steps=120, peak_lr=1e-2, threads=1
        )
        folder = tmp_path_factory.mktemp("judge") / "labeller"
        train_student(spec, base=tiny_base, conversations=lessons, out=folder, seed=0)
        return folder

    return teach
