"""Token counts as a student's training sees them, with the tokenizer opened once for any number of batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from epigone.records import Conversation
from epigone.train.chat import Chat, open_chat
from epigone.train.examples import count_tokens, encode_texts
from epigone.train.spec import ChatFormat, TrainSpec
from epigone.train.student_model import open_tokenizer

__all__ = ["TokenCounts"]


class TokenCounts:
    """What ``count_conversation_tokens`` and ``count_text_tokens`` count, for many calls.

    Args:
        tokenizer: folder or hub id.
        chat_format: how turns are written; their markers count.
    """

    def __init__(self, tokenizer: Path | str, chat_format: ChatFormat = "turn_tokens") -> None:
        self.tokenizer, self.chat_format = tokenizer, chat_format

    def conversations(self, conversations: Sequence[Conversation]) -> list[int]:
        """Tokens of each, its markers and end tokens included, (N,). Raises ModelError: no such tokenizer."""
        opened, chat = self._chat
        return count_tokens(opened, chat, conversations)

    def texts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each plain text, its end token included, (N,). Raises ModelError: no such tokenizer."""
        return [len(example.ids) for example in encode_texts(self._plain, texts, TrainSpec(packing="cut"), name="text")]

    @cached_property
    def _chat(self) -> tuple[Any, Chat]:
        """Its own tokenizer: a chat format adds special tokens to it."""
        opened = open_tokenizer(self.tokenizer)
        return opened, open_chat(opened, self.chat_format)

    @cached_property
    def _plain(self) -> Any:
        return open_tokenizer(self.tokenizer)
