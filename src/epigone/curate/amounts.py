"""Amounts: nested prefixes of one seeded order, counted in the student's tokens, and replay text beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from pydantic import BeforeValidator, Field

from epigone.curate.curated import AmountRow, Nested, Notes
from epigone.curate.spool import Spool
from epigone.curate.tokens import TokenCounter, with_tokens
from epigone.disk import read_jsonl
from epigone.errors import InputError
from epigone.records import Conversation, Drop
from epigone.specs import Spec

__all__ = ["Amount", "Amounts", "AmountsSpec", "checked_counts", "nested_amounts", "take_replay"]

_UNITS = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000, "B": 1_000_000_000}


def _parse_amount(value: object) -> object:
    """``20M``, ``0.3M``, ``40k`` or a plain number of tokens; ``all`` stays as it is."""
    if isinstance(value, str) and value != "all":
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kKMB]?)\s*", value)
        if not match:
            raise ValueError("an amount is a number of tokens such as 300000, 40k or 20M, or the word all")
        return round(float(match[1]) * _UNITS[match[2]])
    return value


Amount = Annotated[Annotated[int, Field(gt=0)] | Literal["all"], BeforeValidator(_parse_amount)]
"""A number of tokens as a user writes it (300000, 40k, 20M), or the word ``all``: everything there is."""


class ReplaySpec(Spec):
    """Pre-training text that is mixed into the training."""

    share: float = Field(gt=0, lt=1)
    """Share of the training tokens that are replay: with D imitation tokens, D · share / (1 − share) of them."""
    texts: Path
    """JSONL of ``{text}``."""


class AmountsSpec(Spec):
    """How much data there shall be, in tokens of the recipe's ``tokenizer``."""

    tokens: tuple[Amount, ...] = Field(min_length=1)
    """Amounts. The data is put into one seeded order, and each amount is the shortest prefix that holds it; what no
    amount needs is dropped (``beyond_largest_amount``). ``all``: everything there is."""
    replay: ReplaySpec | None = None
    """Replay text for each amount, nested in the same way; written to ``replay.jsonl``."""


class _Text(Struct, frozen=True):
    text: str


class Amounts:
    """The step: all conversations in one seeded order, so that every amount is the beginning of the data."""

    def __init__(self, spec: AmountsSpec, tokens: TokenCounter, *, seed: int) -> None:
        self.spec, self.tokens, self.seed = spec, tokens, seed

    def run(self, stream: Iterable[Conversation], notes: Notes) -> Iterator[Conversation | Drop]:
        with Spool() as spool:
            known, counts = spool.fill(with_tokens(stream, self.tokens))
            amounts = self._wanted(sum(counts))
            nested = nested_amounts(known, counts, amounts, seed=self.seed)
            longest = max(nested.prefix.values(), default=0)
            for place, conversation in enumerate(spool.at(nested.order)):
                if place < longest:
                    yield conversation
                else:
                    yield Drop(id=conversation.id, step="amounts", reason="beyond_largest_amount")
            notes.amounts, notes.replay = self._rows(nested, amounts)

    def _wanted(self, total: int) -> list[int]:
        """The amounts in tokens; of data without a token there is no amount but nothing."""
        wanted = {total if amount == "all" else amount for amount in self.spec.tokens}
        return sorted(wanted - {0})

    def _rows(self, nested: Nested, amounts: Sequence[int]) -> tuple[tuple[AmountRow, ...], tuple[str, ...]]:
        texts: list[str] = []
        counts: list[int] = []
        if self.spec.replay is not None and amounts:
            share, pool = self.spec.replay.share, read_jsonl(self.spec.replay.texts, _Text)
            wanted = [round(nested.tokens[amount] * share / (1 - share)) for amount in amounts]
            pool_texts = [line.text for line in pool]
            texts = take_replay(pool_texts, self.tokens.texts(pool_texts), max(wanted), seed=self.seed)
            counts = list(self.tokens.texts(texts))
            reached = np.cumsum(counts)
            taken = [int(np.searchsorted(reached, tokens)) + 1 if tokens else 0 for tokens in wanted]
        else:
            taken = [0] * len(amounts)
        rows = tuple(
            AmountRow(
                amount=amount,
                conversations=nested.prefix[amount],
                tokens=nested.tokens[amount],
                replay_texts=texts_taken,
                replay_tokens=sum(counts[:texts_taken]),
            )
            for amount, texts_taken in zip(amounts, taken, strict=True)
        )
        return rows, tuple(texts)


def nested_amounts(
    conversations: Sequence[Conversation], token_counts: Sequence[int], amounts: Sequence[int], *, seed: int
) -> Nested:
    """One seeded order; each amount is its shortest prefix that holds at least that many tokens.

    A smaller amount's conversations are thus the first of a larger one's, so that arms differ in amount only. The order
    depends on ids and seed, not on the order in which the conversations come.

    Args:
        token_counts: tokens of each conversation by the student's own tokenizer, (N,), as
            ``train.count_conversation_tokens`` gives them.
        amounts: tokens wanted, each at least 1.

    Raises:
        InputError: lengths differ, an amount is not positive, or larger than the data: the message gives the data's
        tokens.
    """
    tokens = checked_counts(token_counts, len(conversations), "conversations")
    shuffled = np.random.default_rng(seed).permutation(len(conversations))
    by_id = np.array(sorted(range(len(conversations)), key=lambda index: conversations[index].id), dtype=np.int64)
    order = by_id[shuffled] if len(by_id) else by_id
    reached = np.cumsum(tokens[order])
    total = int(tokens.sum())
    prefix: dict[int, int] = {}
    for amount in sorted(set(amounts)):
        if amount < 1:
            raise InputError(f"an amount of {amount:,} tokens is not possible", where="amounts", fix="give at least 1")
        if amount > total:
            raise InputError(
                f"{amount:,} tokens are wanted, the data holds {total:,} in {len(conversations):,} conversations",
                where="amounts",
                fix=f"lower the amount to at most {total:,}, or collect more data",
            )
        prefix[amount] = int(np.searchsorted(reached, amount)) + 1
    return Nested(
        order=tuple(order.tolist()),
        prefix=prefix,
        tokens={amount: int(reached[count - 1]) for amount, count in prefix.items()},
    )


def take_replay(texts: Sequence[str], token_counts: Sequence[int], tokens: int, *, seed: int) -> list[str]:
    """Pre-training texts in a seeded order, as many as reach ``tokens``; none is taken twice.

    A replay share r of a training mixture with D imitation tokens needs ``tokens = D * r / (1 - r)``.

    Raises:
        InputError: the texts hold fewer tokens than that: the message says how many.
    """
    counts = checked_counts(token_counts, len(texts), "replay texts")
    if tokens <= 0:
        return []
    order = np.random.default_rng(seed).permutation(len(texts))
    reached = np.cumsum(counts[order])
    total = int(counts.sum())
    if tokens > total:
        raise InputError(
            f"{tokens:,} tokens of replay are wanted, the texts hold {total:,}",
            where="replay",
            fix="lower the replay share or the amount, or give more pre-training text",
        )
    return [texts[index] for index in order[: int(np.searchsorted(reached, tokens)) + 1]]


def checked_counts(counts: Sequence[int], expected: int, what: str) -> npt.NDArray[np.int64]:
    """``counts`` as an array, (N,); an error where they cannot belong to ``expected`` records."""
    tokens = np.asarray(counts, dtype=np.int64).reshape(-1)
    if len(tokens) != expected:
        raise InputError(
            f"{len(tokens):,} token counts for {expected:,} {what}", fix="count each one, in the same order"
        )
    if (tokens < 0).any():
        raise InputError(f"a token count of {tokens.min()} is not possible", fix="count tokens anew")
    return tokens
