"""Numbered n-grams: texts as sparse 0/1 matrices whose products are clipped n-gram match counts, with no hash
collisions.

A *feature* is an n-gram together with its k-th occurrence in a text, so that what two texts hold in common, each
n-gram as often as the text that has fewer of it, is the number of features that they share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat

import numpy as np
import numpy.typing as npt
from scipy import sparse

__all__ = ["GramTable"]

Ints = npt.NDArray[np.int64]


class GramTable:
    """All n-grams, n = 1 … ``order``, of the texts it is made from, each numbered by its (n−1)-gram and its last word.

    ``own``: for each n the (texts, features) matrix of these texts, float32, 1 where a text has the feature.
    """

    def __init__(self, texts: Sequence[Sequence[str]], order: int) -> None:
        self.order = order
        self.own: list[sparse.csr_matrix] = []
        self._words: dict[str, int] = {}
        for tokens in texts:
            for token in tokens:
                self._words.setdefault(token, len(self._words))
        self._extensions: list[Ints] = []  # for n = 2 …: sorted keys (n−1)-gram * words + word; the place is the n-gram
        self._features: list[
            Ints
        ] = []  # for n = 1 …: sorted keys n-gram * repeats + occurrence; the place is the column
        self._repeats: list[int] = []
        words, text_of = self._encode(texts)
        grams = words
        for n in range(1, order + 1):
            if n > 1:
                starts, keys = self._extend(grams, words, text_of, n)
                known, numbers = _distinct(keys)
                self._extensions.append(known)
                grams = _scatter(numbers, starts, len(words))
            occurrence = _occurrences(grams, text_of)
            here = np.flatnonzero(grams >= 0)
            self._repeats.append(int(occurrence[here].max(initial=0)) + 1)
            features, columns = _distinct(grams[here] * self._repeats[-1] + occurrence[here])
            self._features.append(features)
            self.own.append(_ones(text_of[here], columns, (len(texts), len(features))))

    def positions(self, texts: Sequence[Sequence[str]]) -> Iterator[tuple[Ints, Ints]]:
        """For each n: the number of the n-gram that starts at each token of the texts in a row, or −1; and its text."""
        words, text_of = self._encode(texts)
        grams = words
        for n in range(1, self.order + 1):
            if n > 1:
                starts, keys = self._extend(grams, words, text_of, n)
                grams = _scatter(_find(self._extensions[n - 2], keys), starts, len(words))
            yield grams, text_of

    def matrices(self, texts: Sequence[Sequence[str]]) -> list[sparse.csr_matrix]:
        """For each n the (texts, features) matrix of other texts; n-grams that the table does not have are left out."""
        found = []
        for features, repeats, (grams, text_of) in zip(
            self._features, self._repeats, self.positions(texts), strict=True
        ):
            occurrence = _occurrences(grams, text_of)
            here = np.flatnonzero((grams >= 0) & (occurrence < repeats))
            columns = _find(features, grams[here] * repeats + occurrence[here])
            known = columns >= 0
            found.append(_ones(text_of[here][known], columns[known], (len(texts), len(features))))
        return found

    def _encode(self, texts: Sequence[Sequence[str]]) -> tuple[Ints, Ints]:
        lengths = np.array([len(tokens) for tokens in texts], dtype=np.int64)
        number = self._words.get
        words = np.fromiter(map(number, chain.from_iterable(texts), repeat(-1)), np.int64, count=int(lengths.sum()))
        return words, np.repeat(np.arange(len(texts)), lengths)

    def _extend(self, grams: Ints, words: Ints, text_of: Ints, n: int) -> tuple[Ints, Ints]:
        """Where an (n−1)-gram goes on with a known word in the same text, and the keys of the n-grams there."""
        last = max(0, len(words) - (n - 1))
        within = (grams[:last] >= 0) & (words[n - 1 :] >= 0) & (text_of[:last] == text_of[n - 1 :])
        starts = np.flatnonzero(within)
        return starts, grams[starts] * len(self._words) + words[starts + n - 1]


def _ones(rows: Ints, columns: Ints, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)


def _scatter(numbers: Ints, places: Ints, length: int) -> Ints:
    spread = np.full(length, -1, dtype=np.int64)
    spread[places] = numbers
    return spread


def _distinct(keys: Ints) -> tuple[Ints, Ints]:
    """The sorted distinct keys, and the place of each key among them (several times faster here than ``np.unique``)."""
    order = np.argsort(keys)
    ordered = keys[order]
    fresh = np.ones(len(keys), dtype=bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    place = np.empty(len(keys), dtype=np.int64)
    place[order] = np.cumsum(fresh) - 1
    return ordered[fresh], place


def _find(known: Ints, keys: Ints) -> Ints:
    """The place of each key in the sorted ``known``, or −1."""
    place = np.searchsorted(known, keys)
    hit = place < len(known)
    hit[hit] = known[place[hit]] == keys[hit]
    return np.where(hit, place, -1)


def _occurrences(grams: Ints, text_of: Ints) -> Ints:
    """Numbers the equal n-grams of a text 0, 1, 2, …; which of them is which does not matter. (tokens,)."""
    keys = text_of * (int(grams.max(initial=0)) + 2) + grams + 1
    order = np.argsort(keys)
    ordered = keys[order]
    fresh = np.ones(len(keys), dtype=bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(fresh)
    runs = np.diff(np.append(starts, len(keys)))
    occurrence = np.empty(len(keys), dtype=np.int64)
    occurrence[order] = np.arange(len(keys)) - np.repeat(starts, runs)
    return occurrence
