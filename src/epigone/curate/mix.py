"""Mix: sources by share of the student's tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from epigone.curate.amounts import checked_counts
from epigone.curate.curated import MixRow, Notes
from epigone.curate.spool import Spool
from epigone.curate.tokens import TokenCounter, with_tokens
from epigone.errors import InputError
from epigone.records import Conversation, Drop
from epigone.specs import Spec

__all__ = ["Mix", "MixSpec", "mix_sources"]


class MixSpec(Spec):
    """How much of each source, in tokens of the recipe's ``tokenizer``."""

    shares: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(min_length=1)
    """Source, as the conversations name it, to its share of the tokens; they sum to 1. A source without a share is left
    out. The scarcest source for its share sets the size."""

    @field_validator("shares")
    @classmethod
    def _sum_to_one(cls, shares: dict[str, float]) -> dict[str, float]:
        if abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f"the shares sum to {sum(shares.values()):g}, not to 1")
        return shares


class Mix:
    """The step: sees all conversations, keeps the largest mixture, in the order in which they came."""

    def __init__(self, spec: MixSpec, tokens: TokenCounter, *, seed: int) -> None:
        self.spec, self.tokens, self.seed = spec, tokens, seed

    def run(self, stream: Iterable[Conversation], notes: Notes) -> Iterator[Conversation | Drop]:
        with Spool() as spool:
            known, counts = spool.fill(with_tokens(stream, self.tokens))
            chosen = set(mix_sources(known, counts, self.spec.shares, seed=self.seed))
            held: Counter[str] = Counter()
            for place, conversation in enumerate(spool):
                if place in chosen:
                    held[conversation.source] += counts[place]
                    yield conversation
                else:
                    reason = "over_share" if conversation.source in self.spec.shares else "source_not_in_mix"
                    yield Drop(id=conversation.id, step="mix", reason=reason, detail=conversation.source)
            notes.mix = tuple(
                MixRow(source=source, share=share, tokens=held[source], held=held[source] / held.total())
                for source, share in sorted(self.spec.shares.items())
            )


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
    tokens = checked_counts(token_counts, len(conversations), "conversations")
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
