"""Support: how much the training queries say about each evaluation item, as a number for later analysis.

Who gains from imitation and who regresses may depend on what the training data happened to cover. The measure is BM25
(Robertson and Zaragoza 2009, with the non-negative idf ln(1 + (N − df + ½)/(df + ½))) of the item's prompt to its
nearest training queries, divided by the prompt's BM25 to itself, so that items of different length can be compared.
"""

from __future__ import annotations

import math
import unicodedata
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from epigone.curate.curated import EvaluationText, Notes
from epigone.curate.queries import split_words, substantive_queries
from epigone.errors import InputError
from epigone.records import Conversation, ItemSupport
from epigone.specs import Spec

__all__ = ["MeasureSupport", "SupportSpec", "support"]

_K1, _B = 1.5, 0.75
_CELLS = 4_000_000  # scores of items against queries held at once: they are dense


class SupportSpec(Spec):
    """How near the training data comes to each evaluation item."""

    nearest: int = Field(default=5, ge=1)
    """Over how many distinct training queries, the nearest ones, the mean is taken."""


class MeasureSupport:
    """The step: lets every record through and measures when all have passed; holds the distinct queries."""

    def __init__(self, spec: SupportSpec, evaluation: Sequence[EvaluationText]) -> None:
        self.spec = spec
        self._by_benchmark: defaultdict[str, list[EvaluationText]] = defaultdict(list)
        for text in evaluation:
            self._by_benchmark[text.benchmark].append(text)

    def run(self, stream: Iterable[Conversation], notes: Notes) -> Iterator[Conversation]:
        queries: dict[str, None] = {}
        for conversation in stream:
            queries.update(dict.fromkeys(substantive_queries(conversation)))
            yield conversation
        index = _Bm25(queries)
        notes.support = tuple(
            ItemSupport(data="", task=benchmark, item=item, value=value)
            for benchmark, texts in sorted(self._by_benchmark.items())
            for item, value in index.by_item(texts, self.spec.nearest).items()
        )


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
    return _Bm25(queries).by_item(evaluation, nearest)


class _Bm25:
    """Training queries as a sparse matrix of BM25 weights, (queries, words)."""

    def __init__(self, documents: Iterable[str]) -> None:
        self._columns: dict[str, int] = {}
        columns, starts = array("q"), array("q", [0])
        for document in documents:
            columns.extend(self._columns.setdefault(word, len(self._columns)) for word in _words(document))
            starts.append(len(columns))
        self._documents = sparse.csr_matrix(
            (np.ones(len(columns)), np.frombuffer(columns, dtype=np.int64), np.frombuffer(starts, dtype=np.int64)),
            shape=(len(starts) - 1, len(self._columns)),
        )
        lengths = np.diff(self._documents.indptr)
        self._documents.sum_duplicates()
        count = len(lengths)
        self._mean_length = max(1.0, float(lengths.mean())) if count else 1.0
        holding = np.bincount(self._documents.indices, minlength=len(self._columns))
        self._idf = np.log1p((count - holding + 0.5) / (holding + 0.5))
        self._unseen_idf = math.log1p((count + 0.5) / 0.5)
        rows = np.repeat(np.arange(count), np.diff(self._documents.indptr))
        longer = _K1 * (1 - _B + _B * lengths / self._mean_length)
        times = self._documents.data
        self._documents.data = self._idf[self._documents.indices] * times * (_K1 + 1) / (times + longer[rows])

    def by_item(self, texts: Sequence[EvaluationText], nearest: int) -> dict[str, float]:
        """Item to support, for the items whose prompt holds a word."""
        counts = {text.item: Counter(_words(text.prompt)) for text in texts}
        asked = {item: words for item, words in counts.items() if words}
        items, queries = list(asked), self._documents.shape[0]
        if not queries:
            return dict.fromkeys(items, 0.0)
        found: dict[str, float] = {}
        block = max(1, _CELLS // queries)
        for start in range(0, len(items), block):
            part = items[start : start + block]
            values = self._support([asked[item] for item in part], min(nearest, queries))
            found.update(zip(part, values.tolist(), strict=True))
        return found

    def _support(self, prompts: Sequence[Mapping[str, int]], nearest: int) -> npt.NDArray[np.float64]:
        """(P,) for the word counts of P prompts."""
        known = [
            (row, self._columns[word], n)
            for row, words in enumerate(prompts)
            for word, n in words.items()
            if word in self._columns
        ]
        rows, columns, times = zip(*known, strict=True) if known else ((), (), ())
        asked = sparse.csr_matrix((times, (rows, columns)), shape=(len(prompts), len(self._columns)))
        scores = (asked @ self._documents.T).toarray()
        top = np.sort(np.partition(scores, scores.shape[1] - nearest, axis=1)[:, -nearest:], axis=1)
        shares: npt.NDArray[np.float64] = top.mean(axis=1) / np.array([self._to_itself(words) for words in prompts])
        return shares

    def _to_itself(self, words: Mapping[str, int]) -> float:
        longer = _K1 * (1 - _B + _B * sum(words.values()) / self._mean_length)
        return sum(self._idf_of(word) * n * n * (_K1 + 1) / (n + longer) for word, n in words.items())

    def _idf_of(self, word: str) -> float:
        column = self._columns.get(word)
        return self._unseen_idf if column is None else float(self._idf[column])


def _words(text: str) -> list[str]:
    return split_words(unicodedata.normalize("NFC", text).casefold())
