"""Amounts and mixtures: nested prefixes of one seeded order, sources by share of tokens, replay text by token count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from epigone.curate.curated import Nested
from epigone.errors import InputError
from epigone.records import Conversation

__all__ = ["mix_sources", "nested_amounts", "take_replay"]


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
    tokens = _checked_counts(token_counts, len(conversations), "conversations")
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
    counts = _checked_counts(token_counts, len(texts), "replay texts")
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


def mix_sources(
    conversations: Sequence[Conversation], token_counts: Sequence[int], shares: Mapping[str, float], *, seed: int
) -> list[int]:
    """Indices of the largest mixture in which each source holds its share of the tokens, to within one conversation.

    Conversations of each source are taken in a seeded order; the source that is scarcest for its share sets the size.
    A source without a share is left out.

    Args:
        shares: source name to share; they sum to 1.

    Raises:
        InputError: a source of ``shares`` is not in the data, or the shares do not sum to 1.
    """
    tokens = _checked_counts(token_counts, len(conversations), "conversations")
    if abs(sum(shares.values()) - 1) > 1e-6 or any(share <= 0 for share in shares.values()):
        raise InputError(
            f"the shares sum to {sum(shares.values()):g}", where="mix.shares", fix="give positive shares that sum to 1"
        )
    members: dict[str, list[int]] = {source: [] for source in shares}
    for index, conversation in enumerate(conversations):
        if conversation.source in members:
            members[conversation.source].append(index)
    absent = [source for source, indices in members.items() if not tokens[indices].sum()]
    if absent:
        known = ", ".join(sorted({conversation.source or "(none)" for conversation in conversations}))
        raise InputError(
            f"no tokens of source {', '.join(absent)} in the data (found: {known or 'nothing'})",
            where="mix.shares",
            fix="name sources as the conversations do",
        )
    total = min(float(tokens[indices].sum()) / shares[source] for source, indices in members.items())
    chosen: list[int] = []
    for number, (source, indices) in enumerate(sorted(members.items())):
        by_id = sorted(indices, key=lambda index: conversations[index].id)
        order = np.array(by_id)[np.random.default_rng([seed, number]).permutation(len(by_id))]
        reached = np.cumsum(tokens[order])
        chosen += order[: int(np.searchsorted(reached, total * shares[source] * (1 - 1e-9))) + 1].tolist()
    return sorted(chosen)


def _checked_counts(counts: Sequence[int], expected: int, what: str) -> npt.NDArray[np.int64]:
    tokens = np.asarray(counts, dtype=np.int64).reshape(-1)
    if len(tokens) != expected:
        raise InputError(
            f"{len(tokens):,} token counts for {expected:,} {what}", fix="count each one, in the same order"
        )
    if (tokens < 0).any():
        raise InputError(f"a token count of {tokens.min()} is not possible", fix="count tokens anew")
    return tokens
