"""The local engine writes what transformers' own generate writes, whatever it is batched with."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from epigone.models import LocalSpec
from epigone.models.local import LocalModel, load_local
from epigone.records import Reply, Request

FAMILIES = ("llama", "llama_gqa", "gpt2", "gpt_neox", "qwen2", "qwen3", "qwen2_sliding", "gemma", "gemma2", "gemma3")
WORDS = [
    "The",
    "quick",
    "brown",
    "fox",
    "and",
    "Ada",
    "Novak",
    "of",
    "Lisbon",
    "asked",
    "where",
    "17",
    "boats,",
    "42",
    "names",
    "or",
    "1984",
    "winters",
    "were",
    "born",
]


def prompts(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 25))) for _ in range(count)]


def written_by_transformers(model: LocalModel, prompt: str, tokens: int) -> list[int]:
    """The reference: one prompt alone, greedy, no padding."""
    import torch

    ids = torch.tensor([model.text.encode(prompt)])
    engine: Any = model._forward.model
    output = engine.generate(ids, do_sample=False, max_new_tokens=tokens, attention_mask=torch.ones_like(ids))
    return output[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_text_is_that_of_generate_for_every_family(make_model: Callable[..., Path], family: str) -> None:
    model = load_local(LocalSpec(hf=str(make_model(family)), dtype="float32", batch_rows=5))
    asked = prompts(12)
    replies = model.generate([Request(prompt=prompt, max_tokens=24) for prompt in asked])
    for prompt, reply in zip(asked, replies, strict=True):
        expected = written_by_transformers(model, prompt, 24)
        ended = expected[-1] == 0
        assert reply.text == model.text.after(model.text.encode(prompt), expected[:-1] if ended else expected)
        assert reply.status == ("ok" if ended else "length")
        assert reply.completion_tokens == len(expected)


def test_replies_do_not_depend_on_batch_or_order(make_model: Callable[..., Path]) -> None:
    model = load_local(LocalSpec(hf=str(make_model("llama")), dtype="float64", batch_rows=64))
    requests = [
        Request(prompt=prompt, max_tokens=20, temperature=1.0, seed=7, sample=number % 3, top_logprobs=3)
        for number, prompt in enumerate(prompts(40))
    ]
    together = model.generate(requests)
    alone = [model.generate([request])[0] for request in requests]
    order = list(range(len(requests)))
    random.Random(1).shuffle(order)
    shuffled: list[Reply | None] = [None] * len(requests)
    for index, reply in zip(order, model.generate([requests[index] for index in order]), strict=True):
        shuffled[index] = reply
    assert together == alone
    assert together == shuffled
    assert len({reply.text for reply in together}) > 30
