"""Counts tokens for curation exactly as a training will: the only place where the two rooms meet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from epigone import train
from epigone.curate import TokenizerSpec
from epigone.errors import MissingDependency
from epigone.records import Conversation

__all__ = ["StudentTokens"]


class StudentTokens:
    """The tokenizer that a recipe names, as ``curate``'s ``TokenCounter``.

    Args:
        tokenizer: which one.
        chat_format: how turns are written where the tokenizer's own spec does not say.
    """

    def __init__(self, tokenizer: TokenizerSpec, *, chat_format: train.ChatFormat = "turn_tokens") -> None:
        folder = Path(tokenizer.hf)
        self.name = tokenizer.name or (folder.resolve().name if folder.is_dir() else tokenizer.hf)
        self._hf = tokenizer.hf
        self._chat_format = tokenizer.chat_format or chat_format

    def conversations(self, conversations: Sequence[Conversation]) -> list[int]:
        """Tokens of each, markers of turns and end tokens included, (N,). Raises ModelError: no tokenizer there."""
        return self._counts.conversations(conversations)

    def texts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each plain text, its end token included, (N,). Raises ModelError: no tokenizer there."""
        return self._counts.texts(texts)

    @cached_property
    def _counts(self) -> train.TokenCounts:
        try:
            return train.TokenCounts(self._hf, self._chat_format)
        except ModuleNotFoundError as error:
            raise MissingDependency(
                f"counting tokens needs {error.name}", fix="pip install 'epigone[local]'"
            ) from error
