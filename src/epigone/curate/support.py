"""Support: how much the training queries say about each evaluation item, as a number for later analysis.

Who gains from imitation and who regresses may depend on what the training data happened to cover. The measure is BM25
(Robertson and Zaragoza 2009, with the non-negative idf ln(1 + (N − df + ½)/(df + ½))) of the item's prompt to its
nearest training queries, divided by the prompt's BM25 to itself, so that items of different length can be compared.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from epigone.curate.curated import EvaluationText
from epigone.curate.queries import substantive_queries
from epigone.errors import InputError
from epigone.records import Conversation

__all__ = ["support"]

_WORD = re.compile(r"\w+")
_K1, _B = 1.5, 0.75
_BLOCK = 256  # items at a time: the scores of a block against all queries are dense


def support(
    evaluation: Sequence[EvaluationText], conversations: Sequence[Conversation], *, nearest: int = 5
) -> dict[str, float]:
    """Each item's mean BM25 to its ``nearest`` distinct training queries, as a share of its BM25 to itself.

    0: no word in common with any training query; about 1 and above: as near as a copy. An item whose prompt holds no
    word is absent.

    Raises:
        InputError: two benchmarks use the same item id (call this once a benchmark), or ``nearest`` is below 1.
    """
    if nearest < 1:
        raise InputError("at least one nearest query is needed", where="nearest")
    repeated = [item for item, count in Counter(text.item for text in evaluation).items() if count > 1]
    if repeated:
        raise InputError(
            f"{len(repeated):,} item ids stand for several items, such as '{repeated[0]}'",
            where="evaluation",
            fix="call support once for each benchmark",
        )
    queries = dict.fromkeys(query for conversation in conversations for query in substantive_queries(conversation))
    if not queries:
        return {text.item: 0.0 for text in evaluation if _words(text.prompt)}
    index = _Bm25(queries)
    found: dict[str, float] = {}
    for start in range(0, len(evaluation), _BLOCK):
        block = [text for text in evaluation[start : start + _BLOCK] if _words(text.prompt)]
        for text, value in zip(block, index.support([text.prompt for text in block], nearest), strict=True):
            found[text.item] = float(value)
    return found


class _Bm25:
    """Training queries as a sparse matrix of BM25 weights, (queries, words)."""

    def __init__(self, documents: Iterable[str]) -> None:
        counts = [Counter(_words(document)) for document in documents]
        self._columns: dict[str, int] = {}
        for words in counts:
            for word in words:
                self._columns.setdefault(word, len(self._columns))
        self._mean_length = max(1.0, sum(words.total() for words in counts) / len(counts))
        holding = Counter(word for words in counts for word in words)
        self._idf = {word: self._idf_of(count, len(counts)) for word, count in holding.items()}
        self._unseen_idf = self._idf_of(0, len(counts))
        rows, columns, weights = [], [], []
        for row, words in enumerate(counts):
            for word, weight in self._weights(words).items():
                rows.append(row)
                columns.append(self._columns[word])
                weights.append(weight)
        self._documents = sparse.csr_matrix((weights, (rows, columns)), shape=(len(counts), len(self._columns)))

    def support(self, prompts: Sequence[str], nearest: int) -> npt.NDArray[np.float64]:
        """(P,) for prompts that hold at least one word each."""
        counts = [Counter(_words(prompt)) for prompt in prompts]
        known = [
            (row, self._columns[word], n)
            for row, words in enumerate(counts)
            for word, n in words.items()
            if word in self._columns
        ]
        rows, columns, times = zip(*known, strict=True) if known else ((), (), ())
        asked = sparse.csr_matrix((times, (rows, columns)), shape=(len(prompts), len(self._columns)))
        scores = (asked @ self._documents.T).toarray()
        top = -np.sort(-scores, axis=1)[:, :nearest]
        itself = [sum(weight * words[word] for word, weight in self._weights(words).items()) for words in counts]
        shares: npt.NDArray[np.float64] = top.mean(axis=1) / np.array(itself)
        return shares

    def _weights(self, words: Counter[str]) -> dict[str, float]:
        longer = _K1 * (1 - _B + _B * words.total() / self._mean_length)
        return {
            word: self._idf.get(word, self._unseen_idf) * count * (_K1 + 1) / (count + longer)
            for word, count in words.items()
        }

    @staticmethod
    def _idf_of(holding: int, documents: int) -> float:
        return math.log1p((documents - holding + 0.5) / (holding + 0.5))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
