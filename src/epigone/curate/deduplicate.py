"""Deduplicate on the query level: of the dialogues that ask the same thing, one stays.

The paper deduplicated ShareGPT "on the query level" (§3) and says no more. Here two dialogues are duplicates when
their first substantive query (or the whole sequence of them) is the same after :class:`Normalization`. Turns that
only ask to go on ("continue") are not substantive: a dialogue with no other turn is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from epigone.curate.curated import Notes
from epigone.curate.queries import Normalization, QueryScope, normalize, substantive_queries
from epigone.curate.spool import Spool
from epigone.records import Conversation, Drop
from epigone.specs import Spec

__all__ = ["Deduplicate", "DeduplicateSpec", "query_key"]


class DeduplicateSpec(Spec):
    """When two dialogues ask the same, and which of them stays."""

    by: QueryScope = "first_query"
    """``first_query``: the first query that asks for something. ``all_queries``: the whole sequence of them."""
    keep: Literal["first", "longest", "drawn"] = "first"
    """``first``: in input order. ``longest``: the most assistant text (makes the data's answers longer than the
    teacher's are). ``drawn``: an arbitrary one, by digest. ``longest`` and ``drawn`` do not depend on the input's
    order."""
    normalization: Normalization = Normalization()
    """What does not make two queries different."""


def query_key(conversation: Conversation, by: QueryScope, rules: Normalization) -> bytes | None:
    """16 bytes that are the same for duplicates; ``None`` where every user turn only asks to go on."""
    queries = substantive_queries(conversation)
    if not queries:
        return None
    chosen = queries[:1] if by == "first_query" else queries
    text = "\x00".join(normalize(query, rules) for query in chosen)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Deduplicate:
    """The step: sees all records; memory grows by about a hundred bytes for each distinct query."""

    def __init__(self, spec: DeduplicateSpec) -> None:
        self.spec = spec

    def run(self, stream: Iterable[Conversation], notes: Notes) -> Iterator[Conversation | Drop]:  # noqa: ARG002
        return self._keep_first(stream) if self.spec.keep == "first" else self._keep_best(stream)

    def _keep_first(self, stream: Iterable[Conversation]) -> Iterator[Conversation | Drop]:
        seen: set[bytes] = set()
        for conversation in stream:
            key = query_key(conversation, self.spec.by, self.spec.normalization)
            if key is not None and key in seen:
                yield self._drop(conversation)
                continue
            if key is not None:
                seen.add(key)
            yield conversation

    def _keep_best(self, stream: Iterable[Conversation]) -> Iterator[Conversation | Drop]:
        """Two passes: find each key's best, then let it through. Equal records: the first of them stays."""
        best: dict[bytes, tuple[int, bytes]] = {}
        with Spool() as spool:
            for conversation in stream:
                key = query_key(conversation, self.spec.by, self.spec.normalization)
                if key is not None:
                    best[key] = max(best.get(key, (-1, b"")), self._rank(conversation))
                spool.add(conversation)
            given: set[bytes] = set()
            for conversation in spool:
                key = query_key(conversation, self.spec.by, self.spec.normalization)
                if key is not None and (key in given or self._rank(conversation) != best[key]):
                    yield self._drop(conversation)
                    continue
                if key is not None:
                    given.add(key)
                yield conversation

    def _rank(self, conversation: Conversation) -> tuple[int, bytes]:
        digest = hashlib.blake2b(msgspec.json.encode(conversation, order="deterministic"), digest_size=16).digest()
        if self.spec.keep == "drawn":
            return 0, digest
        return sum(len(message.content) for message in conversation.messages if message.role == "assistant"), digest

    def _drop(self, conversation: Conversation) -> Drop:
        return Drop(id=conversation.id, step="deduplicate", reason="duplicate_query", detail=self.spec.by)
