"""Diversity: how similar each query is to its most similar other query, exactly, and the mean (paper, §3).

"Similar" is sentence BLEU with the query as hypothesis and the other as its one reference, in percent, over *distinct*
first queries: duplicates would each score 100 and are counted elsewhere. The paper reports 8 % for ShareGPT-Mix and
61 % for Super-NaturalInstructions, and names neither tokenizer nor smoothing; here they are sacrebleu's defaults,
whose smoothing gives a few per cent to any two texts that share a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from epigone.curate.bleu import BleuPairs, tokenize_13a
from epigone.curate.curated import Diversity, Notes, SimilarPair
from epigone.curate.queries import QueryScope, substantive_queries
from epigone.curate.workers import Here, Workers
from epigone.records import Conversation
from epigone.specs import Spec

__all__ = ["DiversitySpec", "MeasureDiversity", "measure_diversity", "most_similar"]

_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
_PAIRS_SHOWN = 10
_QUERY_SHOWN = 300  # characters


class DiversitySpec(Spec):
    """What to compare, and how much of it."""

    by: QueryScope = "first_query"
    """``first_query``: each dialogue's first substantive query. ``all_queries``: all of them."""
    exact_up_to: int = Field(default=20_000, ge=2)
    """Up to this many distinct queries all are measured; beyond it, ``sample`` of them against all."""
    sample: int = Field(default=2_000, ge=2)
    """How many queries are drawn beyond ``exact_up_to``; the mean then has an interval."""


class MeasureDiversity:
    """The step: lets every record through and holds their queries until the last one has passed."""

    def __init__(self, spec: DiversitySpec, *, seed: int, workers: Workers) -> None:
        self.spec, self.seed, self.workers = spec, seed, workers

    def run(self, stream: Iterable[Conversation], notes: Notes) -> Iterator[Conversation]:
        queries: dict[str, None] = {}
        for conversation in stream:
            substantive = substantive_queries(conversation)
            queries.update(dict.fromkeys(substantive if self.spec.by == "all_queries" else substantive[:1]))
            yield conversation
        notes.diversity = measure_diversity(list(queries), self.spec, seed=self.seed, workers=self.workers)


def measure_diversity(
    queries: Sequence[str], spec: DiversitySpec = DiversitySpec(), *, seed: int, workers: Workers | None = None
) -> Diversity:
    """The mean over ``queries`` of the largest BLEU to any other of them; equal queries count once."""
    distinct = list(dict.fromkeys(queries))
    rows = np.arange(len(distinct))
    sampled = len(distinct) > spec.exact_up_to
    if sampled:
        rows = np.sort(
            np.random.default_rng(seed).choice(len(distinct), min(spec.sample, len(distinct)), replace=False)
        )
    if len(distinct) < 2:
        return Diversity(
            mean=None, low=None, high=None, n_queries=len(distinct), n_sampled=0, histogram=(0,) * 10, most_similar=()
        )
    values, others = most_similar(distinct, rows, workers=workers)
    mean = float(values.mean())
    # Sampling without replacement from a finite set: the error shrinks to nothing as the sample becomes the whole.
    error = float(values.std(ddof=1)) * np.sqrt((1 - len(rows) / len(distinct)) / len(rows))
    top = np.lexsort((rows, -values))[:_PAIRS_SHOWN]
    pairs = tuple(
        SimilarPair(
            bleu=float(values[place]),
            query=distinct[rows[place]][:_QUERY_SHOWN],
            other=distinct[others[place]][:_QUERY_SHOWN],
        )
        for place in top
        if others[place] >= 0
    )
    return Diversity(
        mean=mean,
        low=mean - _Z * float(error) if sampled else None,
        high=mean + _Z * float(error) if sampled else None,
        n_queries=len(distinct),
        n_sampled=len(rows),
        histogram=tuple(np.histogram(values, bins=10, range=(0.0, 100.0 + 1e-6))[0].tolist()),
        most_similar=pairs,
    )


def most_similar(
    queries: Sequence[str], rows: npt.NDArray[np.int64] | None = None, *, workers: Workers | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """For each query of ``rows`` (all by default): its largest BLEU to any *other* of ``queries``, and which; (R,)
    both.

    Equal to the maximum of ``sacrebleu.sentence_bleu(query, [other]).score``; 0.0 and -1 where no word is shared.
    """
    rows = np.arange(len(queries)) if rows is None else rows
    if not len(rows):
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    pairs = BleuPairs([tokenize_13a(query) for query in queries])
    # Long queries cost more: dealing the rows out like cards keeps the parts even.
    parts = [rows[start::_PARTS] for start in range(min(_PARTS, len(rows)))]
    found = list((workers or Here()).map(pairs.best, parts))
    values, others = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    for start, (part_values, part_others) in enumerate(found):
        values[start::_PARTS], others[start::_PARTS] = part_values, part_others
    return values, others


_PARTS = 32
