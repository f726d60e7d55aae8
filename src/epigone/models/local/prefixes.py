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

    Sorted, neighbours share the most. A stretch of neighbours is cut where they share least, as long as a piece then
    shares at least 16 tokens more than the stretch did and saves at least 128 tokens in all; pieces too small for that
    stay together.

    Args:
        sequences: token ids.
        longest: how many first tokens of each may be shared (a decoder needs at least one of its own).
    """
    order = sorted(range(len(sequences)), key=lambda index: tuple(sequences[index]))
    arrays = [np.asarray(sequences[index][: longest[index]], dtype=np.int64) for index in order]
    alike = [_common(first, second) for first, second in itertools.pairwise(arrays)]
    groups: list[PrefixGroup] = []
    stack = [list(range(len(order)))] if order else []
    while stack:
        members = stack.pop()
        shared = min(alike[members[0] : members[-1]], default=0)
        rest: list[int] = []
        for piece in _cut(members, alike, shared):
            own = min(alike[piece[0] : piece[-1]], default=0)
            if own >= shared + _MIN_LONGER_TOKENS and (len(piece) - 1) * (own - shared) >= _MIN_GAIN_TOKENS:
                stack.append(piece)
            else:
                rest += piece
        if rest:
            indices = sorted((order[member] for member in rest), key=lambda index: (len(sequences[index]), index))
            groups.append(PrefixGroup(length=shared if len(rest) > 1 else 0, members=tuple(indices)))
    return groups


def _common(first: np.ndarray, second: np.ndarray) -> int:
    """How many first tokens of two sequences are the same."""
    size = min(len(first), len(second))
    differs = first[:size] != second[:size]
    return int(differs.argmax()) if differs.any() else size


def _cut(members: list[int], alike: list[int], shared: int) -> list[list[int]]:
    """Cut a stretch of neighbours wherever two of them share no more than ``shared`` tokens."""
    pieces = [[members[0]]]
    for member in members[1:]:
        if alike[member - 1] == shared:
            pieces.append([])
        pieces[-1].append(member)
    return pieces
