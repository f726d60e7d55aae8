"""Examples into blocks: best fit without cross-contamination, plain cutting, or one a block."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from msgspec import Struct

from epigone.train.spec import TrainSpec

__all__ = ["Block", "Piece", "fill_rate", "pack"]


class Piece(Struct, frozen=True):
    """Tokens ``start:end`` of example ``example``."""

    example: int
    start: int
    end: int


class Block(Struct, frozen=True):
    """What one row of a batch holds. ``joined``: the pieces see one another, as one text (plain cutting)."""

    pieces: tuple[Piece, ...]
    joined: bool = False

    @property
    def tokens(self) -> int:
        """Tokens in the block, padding not counted."""
        return sum(piece.end - piece.start for piece in self.pieces)


def pack(lengths: Sequence[int], packing: str, block_tokens: int) -> list[Block]:
    """Blocks of at most ``block_tokens`` tokens that hold every token of every example once.

    Args:
        lengths: tokens of each example; at most ``block_tokens`` unless ``packing`` is ``cut``.
        packing: as in :class:`TrainSpec`.
    """
    if packing == "cut":
        return _cut(lengths, block_tokens)
    if packing == "none":
        return [Block((Piece(index, 0, length),)) for index, length in enumerate(lengths)]
    return _best_fit(lengths, block_tokens)


def _best_fit(lengths: Sequence[int], block_tokens: int) -> list[Block]:
    """Best-fit decreasing (Ding et al. 2024, arXiv 2404.10830): each example, longest first, into the fullest block
    that still takes it. The free space of a block is one of ``block_tokens + 1`` numbers, so blocks are kept by it."""
    filled: list[list[int]] = []
    by_space: dict[int, list[int]] = {}
    spaces: list[int] = []  # the free spaces that some block has, ascending
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        length = lengths[index]
        position = bisect_left(spaces, length)
        if position < len(spaces):
            space = spaces[position]
            block = by_space[space].pop()
            if not by_space[space]:
                del by_space[space], spaces[position]
            filled[block].append(index)
        else:
            space, block = block_tokens, len(filled)
            filled.append([index])
        left = space - length
        if left not in by_space:
            by_space[left] = []
            insort(spaces, left)
        by_space[left].append(block)
    return [Block(tuple(Piece(index, 0, lengths[index]) for index in members)) for members in filled]


def _cut(lengths: Sequence[int], block_tokens: int) -> list[Block]:
    """One stream in the given order, cut every ``block_tokens`` tokens."""
    blocks: list[Block] = []
    pieces: list[Piece] = []
    free = block_tokens
    for index, length in enumerate(lengths):
        start = 0
        while start < length:
            end = min(length, start + free)
            pieces.append(Piece(index, start, end))
            free -= end - start
            start = end
            if free == 0:
                blocks.append(Block(tuple(pieces), joined=True))
                pieces, free = [], block_tokens
    if pieces:
        blocks.append(Block(tuple(pieces), joined=True))
    return blocks


def fill_rate(blocks: Sequence[Block], spec: TrainSpec) -> float:
    """Share of the blocks' positions that hold a token, in (0, 1]."""
    return sum(block.tokens for block in blocks) / (len(blocks) * spec.block_tokens)
