"""Numbered n-grams: texts as sparse 0/1 matrices whose products are clipped n-gram match counts, without hash
collisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

__all__ = ["GramTable"]

Ints = npt.NDArray[np.int64]


class GramTable:
    """All n-grams, n = 1 … ``order``, of the texts it is made from. An n-gram is numbered by its (n−1)-gram and last
    word."""

    def __init__(self, texts: Sequence[Sequence[str]], order: int) -> None:
        self.order = order
        self._words: dict[str, int] = {}
        for tokens in texts:
            for token in tokens:
                self._words.setdefault(token, len(self._words))
        self._extensions: list[Ints] = []  # for n = 2 …: sorted keys gram(n−1) * words + word
        self._features: list[Ints] = []  # for n = 1 …: sorted keys gram * repeats + occurrence
        self._repeats: list[int] = []
        words, text_of = self._encode(texts)
        grams = words
        for n in range(1, order + 1):
            if n > 1:
                grams, keys = self._extend(grams, words, text_of, n)
                self._extensions.append(np.unique(keys))
                grams = self._number(grams, keys, n)
            occurrence, repeats = _occurrences(grams, text_of)
            here = grams >= 0
            self._repeats.append(repeats)
            self._features.append(np.unique(grams[here] * repeats + occurrence[here]))

    def positions(self, texts: Sequence[Sequence[str]]) -> Iterator[tuple[Ints, Ints]]:
        """For each n: the number of the n-gram that starts at each token of the concatenated texts, or −1; and its
        text."""
        words, text_of = self._encode(texts)
        grams = words
        for n in range(1, self.order + 1):
            if n > 1:
                grams, keys = self._extend(grams, words, text_of, n)
                grams = self._number(grams, keys, n)
            yield grams, text_of

    def matrices(self, texts: Sequence[Sequence[str]]) -> list[sparse.csr_matrix]:
        """For each n a (texts, features) matrix of float32: 1 where a text holds an n-gram for the k-th time."""
        found = []
        for n, (grams, text_of) in enumerate(self.positions(texts), 1):
            known, repeats = self._features[n - 1], self._repeats[n - 1]
            occurrence, _ = _occurrences(grams, text_of)
            here = np.flatnonzero((grams >= 0) & (occurrence < repeats))
            keys = grams[here] * repeats + occurrence[here]
            columns = np.searchsorted(known, keys)
            hit = columns < len(known)
            hit[hit] = known[columns[hit]] == keys[hit]
            ones = np.ones(int(hit.sum()), dtype=np.float32)
            shape = (len(texts), len(known))
            found.append(sparse.csr_matrix((ones, (text_of[here[hit]], columns[hit])), shape=shape))
        return found

    def _encode(self, texts: Sequence[Sequence[str]]) -> tuple[Ints, Ints]:
        lengths = np.array([len(tokens) for tokens in texts], dtype=np.int64)
        number = self._words.get
        flat = (number(token, -1) for tokens in texts for token in tokens)
        words = np.fromiter(flat, dtype=np.int64, count=int(lengths.sum()))
        return words, np.repeat(np.arange(len(texts)), lengths)

    def _extend(self, grams: Ints, words: Ints, text_of: Ints, n: int) -> tuple[Ints, Ints]:
        """Where an (n−1)-gram at each position goes on with a known word in the same text: that, and the n-grams'
        keys."""
        going_on = np.full(len(grams), -1, dtype=np.int64)
        last = len(words) - (n - 1)
        if last > 0:
            alive = np.flatnonzero((grams[:last] >= 0) & (words[n - 1 :] >= 0) & (text_of[:last] == text_of[n - 1 :]))
            going_on[alive] = grams[alive]
        alive = np.flatnonzero(going_on >= 0)
        return going_on, going_on[alive] * len(self._words) + words[alive + n - 1]

    def _number(self, going_on: Ints, keys: Ints, n: int) -> Ints:
        known = self._extensions[n - 2]
        place = np.searchsorted(known, keys)
        hit = place < len(known)
        hit[hit] = known[place[hit]] == keys[hit]
        numbered = np.full(len(going_on), -1, dtype=np.int64)
        numbered[np.flatnonzero(going_on >= 0)] = np.where(hit, place, -1)
        return numbered


def _occurrences(grams: Ints, text_of: Ints) -> tuple[Ints, int]:
    """How often the gram at each position stood in its text before, (tokens,), and one more than the largest of
    these."""
    order = np.lexsort((grams, text_of))
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (grams[order][1:] != grams[order][:-1]) | (text_of[order][1:] != text_of[order][:-1])
    starts = np.flatnonzero(fresh)
    runs = np.diff(np.append(starts, len(order)))
    before = np.empty(len(order), dtype=np.int64)
    before[order] = np.arange(len(order)) - np.repeat(starts, runs)
    known = grams >= 0
    return before, int(before[known].max(initial=0)) + 1
