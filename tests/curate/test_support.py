"""Support is BM25 to the nearest training queries, relative to the item's own."""

from __future__ import annotations

import math
import re
from collections import Counter

import pytest

from epigone.curate import EvaluationText, support
from epigone.errors import InputError
from epigone.records import Conversation, Message

QUERIES = [
    "how tall is the tower in paris",
    "who built the old tower",
    "bread recipe",
    "how to bake bread at home",
    "paris",
]


def data(queries: list[str]) -> list[Conversation]:
    return [Conversation(id=str(n), messages=(Message(role="user", content=q),)) for n, q in enumerate(queries)]


def item(prompt: str, name: str = "1") -> EvaluationText:
    return EvaluationText(benchmark="b", item=name, prompt=prompt)


def plain_bm25(query: str, document: str, documents: list[str]) -> float:
    """Robertson and Zaragoza 2009, word by word."""

    def split(text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())

    mean = sum(len(split(one)) for one in documents) / len(documents)
    counts, total = Counter(split(document)), 0.0
    for word in split(query):
        holding = sum(word in split(one) for one in documents)
        idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
        frequency = counts[word]
        total += idf * frequency * 2.5 / (frequency + 1.5 * (0.25 + 0.75 * len(split(document)) / mean))
    return total


@pytest.mark.parametrize("prompt", ["how tall is the tower", "bread and unseen butter", "the the paris"])
@pytest.mark.parametrize("nearest", [1, 3])
def test_support_is_bm25_by_the_book(prompt: str, nearest: int) -> None:
    scores = sorted((plain_bm25(prompt, query, QUERIES) for query in QUERIES), reverse=True)[:nearest]
    expected = sum(scores) / nearest / plain_bm25(prompt, prompt, QUERIES)
    assert support([item(prompt)], data(QUERIES), nearest=nearest) == {"1": pytest.approx(expected)}


def test_a_copy_is_fully_supported_and_a_stranger_not_at_all() -> None:
    found = support([item(QUERIES[0], "copy"), item("quantum gravity", "far")], data(QUERIES), nearest=1)
    assert found == {"copy": pytest.approx(1.0), "far": 0.0}


def test_what_cannot_be_said_is_absent_or_refused() -> None:
    assert support([item("?!"), item("bread", "2")], []) == {"2": 0.0}
    assert support([], data(QUERIES)) == {}
    with pytest.raises(InputError, match="once for each benchmark"):
        support([item("a"), item("b")], data(QUERIES))
