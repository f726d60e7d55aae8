"""Blocks hold every token once, and batches give each its own positions, targets and weight."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from epigone.train.batches import IGNORED, Order, assemble, count_targets
from epigone.train.examples import Example
from epigone.train.packing import Block, Piece, fill_rate, pack
from epigone.train.spec import TrainSpec

lengths_of_examples = st.lists(st.integers(1, 32), min_size=1, max_size=60)


@given(lengths=lengths_of_examples)
def test_best_fit_holds_each_example_whole_and_once(lengths: list[int]) -> None:
    blocks = pack(lengths, "best_fit", 32)
    pieces = [piece for block in blocks for piece in block.pieces]
    assert sorted(piece.example for piece in pieces) == list(range(len(lengths)))
    assert all((piece.start, piece.end) == (0, lengths[piece.example]) for piece in pieces)
    assert all(block.tokens <= 32 for block in blocks)


@given(lengths=lengths_of_examples)
def test_best_fit_leaves_no_two_blocks_that_would_fit_into_one(lengths: list[int]) -> None:
    tokens = sorted(block.tokens for block in pack(lengths, "best_fit", 32))
    assert len(tokens) < 2 or tokens[0] + tokens[1] > 32


@given(lengths=st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_cutting_keeps_the_stream_and_fills_all_blocks_but_the_last(lengths: list[int]) -> None:
    blocks = pack(lengths, "cut", 32)
    stream = [(p.example, position) for block in blocks for p in block.pieces for position in range(p.start, p.end)]
    assert stream == [(example, position) for example, length in enumerate(lengths) for position in range(length)]
    assert all(block.tokens == 32 for block in blocks[:-1])
    assert all(block.joined for block in blocks)


def test_best_fit_by_hand() -> None:
    blocks = pack([5, 9, 3, 4, 7], "best_fit", 12)
    assert [[piece.example for piece in block.pieces] for block in blocks] == [[1, 2], [4, 0], [3]]
    assert fill_rate(blocks, TrainSpec(block_tokens=12)) == 28 / 36


def example(ids: list[int], learnt: list[int]) -> Example:
    return Example("x", "", np.array(ids, dtype=np.int32), np.array(learnt, dtype=bool))


def test_a_batch_by_hand() -> None:
    examples = [example([5, 6, 7, 8], [0, 0, 1, 1]), example([9, 10, 11], [1, 0, 1])]
    packed = Block((Piece(0, 0, 4), Piece(1, 0, 3)))
    batch = assemble([packed], examples, width=9)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9, 10, 11, 0, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0, 1]]
    no = IGNORED  # 9 is learnt, but opens its text: nothing stands before it
    assert batch.targets.tolist() == [[no, 7, 8, no, no, 11, no, no, no]]
    assert batch.weights.tolist() == [[0, 1, 1, 0, 0, 1, 0, 0, 0]]
    assert batch.supervised_tokens == count_targets(packed, examples) == 3


def test_a_joined_block_reads_on_over_the_boundary() -> None:
    examples = [example([5, 6, 7, 8], [0, 0, 1, 1]), example([9, 10, 11], [1, 0, 1])]
    joined = Block((Piece(0, 1, 4), Piece(1, 0, 3)), joined=True)
    batch = assemble([joined], examples, width=6)
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert batch.targets.tolist() == [[7, 8, 9, IGNORED, 11, IGNORED]]
    assert batch.supervised_tokens == count_targets(joined, examples) == 4


def test_the_width_is_rounded_up_and_padding_is_its_own_document() -> None:
    batch = assemble([Block((Piece(0, 0, 4),))], [example([5, 6, 7, 8], [1, 1, 1, 1])])
    assert batch.input_ids.shape == (1, 16)
    assert batch.position_ids[0].tolist() == [0, 1, 2, 3, *range(12)]


@given(blocks=st.integers(1, 40), batch=st.integers(1, 9), epochs=st.integers(1, 3), seed=st.integers(0, 5))
def test_every_epoch_visits_every_block_once(blocks: int, batch: int, epochs: int, seed: int) -> None:
    order = Order(blocks, batch, visits=epochs * blocks, seed=seed)
    visits = [index for step in range(order.steps) for index in order.step(step)]
    assert len(visits) == epochs * blocks
    for epoch in range(epochs):
        assert sorted(visits[epoch * blocks : (epoch + 1) * blocks]) == list(range(blocks))
    assert order.step(order.steps - 1) == Order(blocks, batch, visits=epochs * blocks, seed=seed).step(order.steps - 1)


def test_epochs_differ_and_seeds_differ() -> None:
    order = Order(50, 50, visits=100, seed=0)
    assert order.step(0) != order.step(1)
    assert order.step(0) != Order(50, 50, visits=100, seed=1).step(0)
    assert torch.tensor(order.step(0)).unique().numel() == 50
