"""Token counts by a student's own tokenizer: for amounts, mixtures, replay and the data card.

How a conversation becomes tokens is the training's matter (turn tokens count, too), so the counter is given to this
room from outside: ``study.StudentTokens`` counts as a training does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal, Protocol

from epigone.records import Conversation
from epigone.specs import Spec

__all__ = ["CountedOnce", "TokenCounter", "TokenizerSpec", "with_tokens"]

_BATCH = 500  # conversations counted at once


class TokenizerSpec(Spec):
    """The tokenizer that counts: that of the base that the students start from."""

    hf: str
    """Folder or hub id of a model or tokenizer."""
    name: str | None = None
    """What the data card calls it. ``None``: the folder's last part, or the hub id."""
    chat_format: Literal["turn_tokens", "tokenizer_template", "koala"] | None = None
    """How turns are written, as in ``train.chat_format``; their markers count. ``None``: as the study trains, and
    ``turn_tokens`` where there is no study."""


class TokenCounter(Protocol):
    """Counts as the student's training will; ``name`` stands in the data card."""

    name: str

    def conversations(self, conversations: Sequence[Conversation]) -> Sequence[int]:
        """Tokens of each, markers of turns and end tokens included, (N,)."""

    def texts(self, texts: Sequence[str]) -> Sequence[int]:
        """Tokens of each plain text, its end token included, (N,)."""


class CountedOnce:
    """A counter that counts no conversation twice: several steps and the card ask for the same ones.

    Holds about a hundred bytes for each distinct conversation.
    """

    def __init__(self, counter: TokenCounter) -> None:
        self.name = counter.name
        self.texts = counter.texts
        self._counter = counter
        self._known: dict[bytes, int] = {}

    def conversations(self, conversations: Sequence[Conversation]) -> list[int]:
        """Tokens of each, (N,)."""
        keys = [_key(conversation) for conversation in conversations]
        first = dict(zip(keys, conversations, strict=True))
        new = {key: conversation for key, conversation in first.items() if key not in self._known}
        if new:
            counts = self._counter.conversations(list(new.values()))
            self._known.update(zip(new, (int(count) for count in counts), strict=True))
        return [self._known[key] for key in keys]


def with_tokens(conversations: Iterable[Conversation], counter: TokenCounter) -> Iterator[tuple[Conversation, int]]:
    """Each conversation with its tokens, in order, counted in batches."""
    flow = iter(conversations)
    while batch := list(islice(flow, _BATCH)):
        yield from zip(batch, counter.conversations(batch), strict=True)


def _key(conversation: Conversation) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for message in conversation.messages:
        digest.update(f"{message.role}\x00{len(message.content)}\x00{message.content}".encode("utf-8", "surrogatepass"))
    return digest.digest()
