"""Blocks as tensors, in an order that a seed fixes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray
from torch import Tensor

from epigone.train.examples import Example
from epigone.train.packing import Block

__all__ = ["IGNORED", "Batch", "Order", "assemble", "count_targets", "in_one_row"]

IGNORED = -100
"""The target of a position that is not learnt (torch's own convention)."""

_ROUND_TO = 16  # widths are multiples of this: matrix units work in such tiles


class Batch(Struct, frozen=True):
    """Blocks as rows.

    ``input_ids``, ``position_ids``, ``targets``: int64 (B, T). Positions restart where a conversation starts, and at
    the padding. ``targets[b, t]`` is the token that follows position t, or ``IGNORED``. ``weights``: float32 (B, T),
    what each target's loss is multiplied with; over all batches of a step they sum to 1.
    """

    input_ids: Tensor
    position_ids: Tensor
    targets: Tensor
    weights: Tensor
    supervised_tokens: int


class Order:
    """Which blocks make up each step: every epoch is a permutation of all blocks, drawn from (seed, epoch).

    Args:
        visits: blocks seen in the whole training; the last step has what is left over.
    """

    def __init__(self, blocks: int, batch_blocks: int, *, visits: int, seed: int) -> None:
        self._blocks, self._batch, self._visits, self._seed = blocks, batch_blocks, visits, seed
        self.steps = -(-visits // batch_blocks)
        self._drawn: tuple[int, NDArray[np.int64]] | None = None

    def step(self, step: int) -> list[int]:
        """Indexes of the blocks of step ``step`` (the first is 0)."""
        first = step * self._batch
        return [self._at(position) for position in range(first, min(first + self._batch, self._visits))]

    def _at(self, position: int) -> int:
        epoch, offset = divmod(position, self._blocks)
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = (epoch, np.random.default_rng([self._seed, epoch]).permutation(self._blocks))
        return int(self._drawn[1][offset])


def count_targets(block: Block, examples: Sequence[Example]) -> int:
    """How many positions of the block are learnt."""
    count = 0
    for position, piece in enumerate(block.pieces):
        first = piece.start if block.joined and position else piece.start + 1
        count += int(examples[piece.example].learnt[first : piece.end].sum())
    return count


def assemble(blocks: Sequence[Block], examples: Sequence[Example], *, width: int | None = None) -> Batch:
    """Blocks as a batch, as wide as the fullest of them (or ``width``); the weights are still counts: 1 a target."""
    longest = max(block.tokens for block in blocks)
    columns = width or -(-longest // _ROUND_TO) * _ROUND_TO
    shape = (len(blocks), columns)
    input_ids = np.zeros(shape, dtype=np.int64)
    position_ids = np.zeros(shape, dtype=np.int64)
    targets = np.full(shape, IGNORED, dtype=np.int64)
    for row, block in enumerate(blocks):
        column = 0
        for piece in block.pieces:
            example = examples[piece.example]
            ids, learnt = example.ids[piece.start : piece.end], example.learnt[piece.start : piece.end]
            end = column + len(ids)
            input_ids[row, column:end] = ids
            position_ids[row, column:end] = np.arange(column, end) if block.joined else np.arange(len(ids))
            first = 0 if block.joined and column else 1  # the first token of a text follows nothing
            targets[row, column + first - 1 : end - 1] = np.where(learnt[first:], ids[first:], IGNORED)
            column = end
        position_ids[row, column:] = np.arange(columns - column)
    learnt_targets = targets != IGNORED
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        position_ids=torch.from_numpy(position_ids),
        targets=torch.from_numpy(targets),
        weights=torch.from_numpy(learnt_targets.astype(np.float32)),
        supervised_tokens=int(learnt_targets.sum()),
    )


def in_one_row(batch: Batch, lengths: Sequence[int]) -> Batch:
    """The rows of a batch behind one another, without their padding: for attention that goes document by document.

    Args:
        lengths: tokens of each row.
    """
    held = torch.arange(batch.input_ids.shape[1]) < torch.tensor(lengths)[:, None]
    count = int(held.sum())
    padding = -count % _ROUND_TO

    def row(rows: Tensor, fill: int) -> Tensor:
        return torch.cat([rows[held], rows.new_full((padding,), fill)])[None]

    positions = row(batch.position_ids, 0)
    positions[0, count:] = torch.arange(padding)
    return Batch(
        input_ids=row(batch.input_ids, 0),
        position_ids=positions,
        targets=row(batch.targets, IGNORED),
        weights=row(batch.weights, 0),
        supervised_tokens=batch.supervised_tokens,
    )
