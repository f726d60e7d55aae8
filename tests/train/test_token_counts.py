"""A tokenizer opened once counts what the functions count that open it for each call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from epigone.records import Conversation, Message
from epigone.train import TokenCounts, TrainSpec, count_conversation_tokens, count_text_tokens


def test_counts_do_not_depend_on_what_was_counted_before(make_base: Callable[..., Path]) -> None:
    base = make_base()
    turns = (Message(role="user", content="who was born in the city"), Message(role="assistant", content="a cat"))
    talks = [Conversation(id=str(n), messages=turns * (n + 1)) for n in range(3)]
    texts = ["the old house", "a dog. <|user|>"]
    counts = TokenCounts(base)
    for _ in range(2):
        assert counts.conversations(talks) == count_conversation_tokens(base, talks, TrainSpec())
        assert counts.texts(texts) == count_text_tokens(base, texts)
