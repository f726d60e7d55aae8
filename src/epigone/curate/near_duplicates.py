"""Near-duplicates: of dialogues whose first queries share most of their words in order, the first stays.

MinHash signatures estimate the Jaccard similarity of two queries' sets of word trigrams, and locality-sensitive hashing
finds the pairs worth comparing (Broder 1997; Leskovec et al., *Mining of Massive Datasets*, ch. 3), both by datasketch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from datasketch import LeanMinHash, MinHash, MinHashLSH
from pydantic import Field, model_validator

from epigone.curate.curated import Notes
from epigone.curate.queries import first_query, normalize
from epigone.records import Conversation, Drop
from epigone.specs import Spec

__all__ = ["NearDuplicates", "NearDuplicatesSpec"]


class NearDuplicatesSpec(Spec):
    """When two queries are nearly the same."""

    threshold: float = Field(default=0.8, gt=0, lt=1)
    """Estimated Jaccard similarity of the word n-grams from which on two queries are near-duplicates."""
    shingle_words: int = Field(default=3, ge=1)
    """Words in one n-gram; a shorter query is one n-gram."""
    permutations: int = Field(default=128, ge=16)
    """Length of the signatures: the estimate's standard error is about 0.5 / √permutations at most. A threshold
    close to 1 needs many."""

    @model_validator(mode="after")
    def _can_be_searched(self) -> NearDuplicatesSpec:
        try:
            self.index()
        except ValueError as error:
            raise ValueError(
                f"{self.permutations} permutations are too few for a threshold of {self.threshold:g}"
            ) from error
        return self

    def index(self) -> MinHashLSH:
        """An empty index, which finds the queries worth comparing."""
        # Missing a pair costs more than comparing one in vain: every candidate's similarity is looked at again.
        return MinHashLSH(threshold=self.threshold, num_perm=self.permutations, weights=(0.1, 0.9))


class NearDuplicates:
    """The step: sees all records in order; memory grows by about 2 kB for each query that stays."""

    def __init__(self, spec: NearDuplicatesSpec, *, seed: int) -> None:
        self.spec = spec
        self._seed = seed % 2**32

    def run(self, stream: Iterable[Conversation], notes: Notes) -> Iterator[Conversation | Drop]:  # noqa: ARG002
        index = self.spec.index()
        kept: list[tuple[str, LeanMinHash]] = []
        for conversation in stream:
            query = first_query(conversation)
            if query is None:
                yield conversation
                continue
            signature = self._signature(query)
            near = [number for number in sorted(index.query(signature)) if self._is_near(kept[number][1], signature)]
            if near:
                name, other = kept[near[0]]
                detail = f"{name}, similarity {other.jaccard(signature):.2f}"
                yield Drop(id=conversation.id, step="near_duplicates", reason="near_duplicate_query", detail=detail)
                continue
            index.insert(len(kept), signature, check_duplication=False)
            kept.append((conversation.id, signature))
            yield conversation

    def _signature(self, query: str) -> LeanMinHash:
        words = normalize(query).split()
        size = min(self.spec.shingle_words, len(words))
        shingles = {" ".join(words[start : start + size]) for start in range(len(words) - size + 1)}
        signature = MinHash(num_perm=self.spec.permutations, seed=self._seed)
        signature.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in sorted(shingles)])
        return LeanMinHash(signature)

    def _is_near(self, other: LeanMinHash, signature: LeanMinHash) -> bool:
        return bool(other.jaccard(signature) >= self.spec.threshold)
