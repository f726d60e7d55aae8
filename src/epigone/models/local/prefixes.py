"""Which sequences begin alike, so that what they share is computed once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

__all__ = ["PrefixGroup", "group_by_prefix"]

_MIN_GAIN_TOKENS = 128
_MIN_LONGER_TOKENS = 16


class PrefixGroup(Struct, frozen=True):
    """Sequences ``members`` (indices, shortest first) whose first ``length`` tokens are the same."""

    length: int
    members: tuple[int, ...]


def group_by_prefix(sequences: Sequence[Sequence[int]], longest: Sequence[int]) -> list[PrefixGroup]:
    """Divide sequences into groups with long shared prefixes, where that saves computing.

    Sorted, neighbours share the most. A stretch of neighbours is cut where they share least, and its pieces further at
    theirs, until a piece is worth a group of its own: it shares at least 16 tokens more than the stretch did and saves
    at least 128 tokens in all, the reading of its whole prefix counted. What is in no such piece stays together.

    Args:
        sequences: token ids.
        longest: how many first tokens of each may be shared (a decoder needs at least one of its own).
    """
    order = sorted(range(len(sequences)), key=lambda index: tuple(sequences[index]))
    arrays = [np.asarray(sequences[index][: longest[index]], dtype=np.int64) for index in order]
    alike = [_common(first, second) for first, second in itertools.pairwise(arrays)]
    groups: list[PrefixGroup] = []
    stretches = [list(range(len(order)))] if order else []
    while stretches:
        stretch = stretches.pop()
        shared = _shared(stretch, alike)
        rest: list[int] = []
        pieces = _cut(stretch, alike)
        while pieces:
            piece = pieces.pop()
            longer = _shared(piece, alike) - shared
            if len(piece) == 1:
                rest += piece
            elif longer >= _MIN_LONGER_TOKENS and (len(piece) - 1) * longer - shared >= _MIN_GAIN_TOKENS:
                stretches.append(piece)
            else:
                pieces += _cut(piece, alike)
        if rest:
            indices = sorted((order[member] for member in rest), key=lambda index: (len(sequences[index]), index))
            groups.append(PrefixGroup(length=shared if len(rest) > 1 else 0, members=tuple(indices)))
    return groups


def _shared(stretch: Sequence[int], alike: Sequence[int]) -> int:
    """How many first tokens all of a stretch of neighbours share; 0 for one alone, which shares them with nobody."""
    return min(alike[stretch[0] : stretch[-1]], default=0)


def _common(first: np.ndarray, second: np.ndarray) -> int:
    """How many first tokens of two sequences are the same."""
    size = min(len(first), len(second))
    differs = first[:size] != second[:size]
    return int(differs.argmax()) if differs.any() else size


def _cut(stretch: Sequence[int], alike: Sequence[int]) -> list[list[int]]:
    """Cut a stretch of neighbours wherever two of them share no more than all of it does."""
    shared = _shared(stretch, alike)
    pieces = [[stretch[0]]]
    for member in stretch[1:]:
        if alike[member - 1] == shared:
            pieces.append([])
        pieces[-1].append(member)
    return pieces
