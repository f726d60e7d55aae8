"""Exact sentence BLEU between many hypotheses and many references, without looking at every pair in full.

The value is that of ``sacrebleu.sentence_bleu`` with its defaults: 13a tokens, mixed case, orders 1 to 4, *exp*
smoothing (the k-th order without a match counts as 1/2^k matches), effective order (a hypothesis of fewer than four
tokens is scored up to its own length), brevity penalty against the one reference; 0 … 100. Papineni et al. 2002; Chen
and Cherry 2014.

How: a clipped match count Σ_g min(h_g, r_g) is the number of (n-gram, k-th occurrence) pairs that two texts have in
common, so the counts of a block of hypotheses against all references are products of sparse 0/1 matrices. Bigrams and
longer are cheap; unigrams are not (every text has a comma). They are counted only for the pairs whose score would
pass the wanted floor with as many unigrams in common as the shorter text has, which is an upper bound since all else
is exact.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from epigone.curate.grams import GramTable

__all__ = ["BleuPairs", "Hypotheses", "Pairs", "bleu_from_counts", "tokenize_13a"]

ORDER = 4
_BLOCK_CELLS = 4_000_000  # cells of a dense block of hypotheses × references: about 32 MB an array
_SLACK = 1e-9  # the bound and the value round apart by less than this

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# The 13a tokenizer (mteval-v13a.pl) sets off most punctuation first. Its other three rules look at a mark and one
# neighbour and never reach beyond a word and its surrounding spaces. So a word without such a mark is left alone, and
# each other word is split once: several times faster than four substitutions a line.
_SET_OFF = str.maketrans({mark: f" {mark} " for mark in '{|}~[\\]^_`!"#$%&()*+:;<=>?@/'})
_BEFORE = re.compile(r"([^0-9])([.,])")
_AFTER = re.compile(r"([.,])([^0-9])")
_DASH = re.compile(r"([0-9])(-)")


def tokenize_13a(text: str) -> list[str]:
    """Tokens as sacrebleu's default tokenizer gives them."""
    line = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    if "&" in line:
        line = line.replace("&quot;", '"').replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
    tokens: list[str] = []
    for word in line.translate(_SET_OFF).split():
        if "." in word or "," in word or "-" in word:
            tokens += _split_word(word)
        else:
            tokens.append(word)
    return tokens


@lru_cache(maxsize=2**16)
def _split_word(word: str) -> tuple[str, ...]:
    spaced = _AFTER.sub(r" \1 \2", _BEFORE.sub(r"\1 \2 ", f" {word} "))
    return tuple(_DASH.sub(r"\1 \2 ", spaced).split())


def bleu_from_counts(matches: Sequence[Floats], hypothesis: Floats, reference: Floats) -> Floats:
    """Sentence BLEU, 0 … 100, elementwise over broadcastable arrays.

    Args:
        matches: clipped n-gram matches for n = 1 … 4; each is at most the one before it.
        hypothesis, reference: lengths in tokens.
    """
    product = np.ones(np.broadcast_shapes(matches[0].shape, hypothesis.shape, reference.shape))
    smoothing = np.ones_like(product)
    for n, matched in enumerate(matches, 1):
        total = hypothesis - (n - 1)
        smoothing = np.where(matched == 0, smoothing / 2, smoothing)
        product *= np.where(total > 0, np.where(matched == 0, smoothing, matched) / np.maximum(total, 1), 1.0)
    with np.errstate(divide="ignore"):
        penalty = np.exp(np.minimum(0.0, 1.0 - reference / np.maximum(hypothesis, 1)))
    score = 100.0 * penalty * product ** (1.0 / np.clip(hypothesis, 1, ORDER))
    return np.where(matches[0] > 0, score, 0.0)


class Pairs(NamedTuple):
    """Scored pairs, (P,) each: hypothesis index, reference index, BLEU 0 … 100."""

    hypothesis: Ints
    reference: Ints
    bleu: Floats


class _Side(NamedTuple):
    lengths: Floats  # (T,) tokens
    counts: list[sparse.csr_matrix]  # for n = 1 … 4: (T, F_n), 1 where the text has that n-gram for the k-th time


class Hypotheses:
    """Tokenized hypotheses, prepared once to be held against any number of reference sets."""

    def __init__(self, texts: Sequence[list[str]]) -> None:
        self.table = GramTable(texts, ORDER)
        self.side = _Side(_lengths(texts), self.table.own)


class BleuPairs:
    """Hypotheses against references; ``references=None``: against each other, a text never against itself."""

    def __init__(
        self, hypotheses: Hypotheses | Sequence[list[str]], references: Sequence[list[str]] | None = None
    ) -> None:
        prepared = hypotheses if isinstance(hypotheses, Hypotheses) else Hypotheses(hypotheses)
        self.among_themselves = references is None
        if references is None:
            # Most n-grams of a set of texts stand in one of them only and can match nothing: half of the work.
            own = prepared.side.counts
            shared = [counts[:, np.bincount(counts.indices, minlength=counts.shape[1]) > 1] for counts in own]
            self._hypotheses = self._references = _Side(prepared.side.lengths, shared)
        else:
            self._hypotheses = prepared.side
            self._references = _Side(_lengths(references), prepared.table.matrices(references))
        self._transposed = [counts.T.tocsr() for counts in self._references.counts]

    def above(self, floor: float, rows: Ints | None = None) -> Pairs:
        """All pairs of hypotheses ``rows`` (all by default) with BLEU > ``floor`` (percent), by hypothesis."""
        rows = np.arange(len(self._hypotheses.lengths)) if rows is None else rows
        found = [
            self._above(block, np.full(len(block), floor), self._bounds(block)) for block in self._row_blocks(rows)
        ]
        return Pairs(*(np.concatenate(parts) for parts in zip(*found, strict=True))) if found else _NO_PAIRS

    def best(self, rows: Ints | None = None) -> tuple[Floats, Ints]:
        """For each hypothesis of ``rows``: its largest BLEU to any reference, and which one; (R,) both.

        Where nothing is shared with any reference: 0.0 and -1.
        """
        rows = np.arange(len(self._hypotheses.lengths)) if rows is None else rows
        values, indices = np.zeros(len(rows)), np.full(len(rows), -1, dtype=np.int64)
        done = 0
        for block in self._row_blocks(rows):
            here = slice(done, done + len(block))
            values[here], indices[here] = self._best(block)
            done += len(block)
        return values, indices

    def _best(self, rows: Ints) -> tuple[Floats, Ints]:
        bounds = self._bounds(rows)
        if not bounds.shape[1]:
            return np.zeros(len(rows)), np.full(len(rows), -1, dtype=np.int64)
        # The few with the highest bounds give a floor that nearly all the others stay below.
        few = min(4, bounds.shape[1])
        likely = np.argpartition(-bounds, few - 1, axis=1)[:, :few]
        place = np.repeat(np.arange(len(rows)), few)
        first = self._score(rows[place], likely.ravel(), bounds[place, likely.ravel()] > 0)
        scores = first.reshape(len(rows), few)
        values = scores.max(axis=1, initial=0.0)
        indices = np.where(values > 0, likely[np.arange(len(rows)), scores.argmax(axis=1)], -1)
        np.put_along_axis(bounds, likely, 0.0, axis=1)
        better = self._above(rows, values, bounds)
        order = np.lexsort((better.reference, -better.bleu, better.hypothesis))
        leaders, at = np.unique(better.hypothesis[order], return_index=True)
        to_row = {int(row): place for place, row in enumerate(rows)}
        for leader, position in zip(leaders, order[at], strict=True):
            values[to_row[int(leader)]] = better.bleu[position]
            indices[to_row[int(leader)]] = better.reference[position]
        return values, indices

    def _bounds(self, rows: Ints) -> Floats:
        """Upper bounds of BLEU, (R, references): exact but for unigrams, of which the shorter text's length is
        assumed."""
        shape = (len(rows), len(self._references.lengths))
        hypothesis = self._hypotheses.lengths[rows][:, None]
        reference = self._references.lengths[None, :]
        most = np.broadcast_to(np.minimum(hypothesis, reference), shape)
        longer = [
            (mine[rows] @ theirs).toarray()
            for mine, theirs in zip(self._hypotheses.counts[1:], self._transposed[1:], strict=True)
        ]
        bounds = bleu_from_counts([most, *longer], hypothesis, reference)
        if self.among_themselves:
            bounds[np.arange(len(rows)), rows] = 0.0
        return bounds

    def _above(self, rows: Ints, floors: Floats, bounds: Floats) -> Pairs:
        place, reference = np.nonzero(bounds > np.maximum(floors - _SLACK, 0.0)[:, None])
        scores = self._score(rows[place], reference, np.ones(len(place), dtype=bool))
        passed = scores > floors[place]
        return Pairs(rows[place][passed], reference[passed], scores[passed])

    def _score(self, hypothesis: Ints, reference: Ints, wanted: npt.NDArray[np.bool_]) -> Floats:
        """Exact BLEU of the pairs that are ``wanted``, 0.0 elsewhere; (P,)."""
        scores = np.zeros(len(hypothesis))
        mine, theirs = hypothesis[wanted], reference[wanted]
        matches = [
            _pair_products(left, right, mine, theirs)
            for left, right in zip(self._hypotheses.counts, self._references.counts, strict=True)
        ]
        scores[wanted] = bleu_from_counts(matches, self._hypotheses.lengths[mine], self._references.lengths[theirs])
        return scores

    def _row_blocks(self, rows: Ints) -> list[Ints]:
        size = max(1, _BLOCK_CELLS // max(1, len(self._references.lengths)))
        return [rows[start : start + size] for start in range(0, len(rows), size)]


_NO_PAIRS = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def _lengths(texts: Sequence[list[str]]) -> Floats:
    return np.array([len(tokens) for tokens in texts], dtype=np.float64)


def _pair_products(left: sparse.csr_matrix, right: sparse.csr_matrix, mine: Ints, theirs: Ints) -> Floats:
    """Row ``mine[p]`` of ``left`` times row ``theirs[p]`` of ``right``, for each pair p; (P,)."""
    products = np.zeros(len(mine))
    for start in range(0, len(mine), 4096):
        here = slice(start, start + 4096)
        products[here] = np.asarray(left[mine[here]].multiply(right[theirs[here]]).sum(axis=1)).ravel()
    return products
