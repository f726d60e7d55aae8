"""Nested amounts, replay and mixtures: what each arm is given."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epigone.curate import mix_sources, nested_amounts, take_replay
from epigone.errors import InputError
from epigone.records import Conversation, Message


def conversations(count: int, source: str = "s") -> list[Conversation]:
    message = Message(role="user", content="q")
    return [Conversation(id=f"{source}{number:03}", messages=(message,), source=source) for number in range(count)]


@settings(max_examples=50, deadline=None)
@given(counts=st.lists(st.integers(1, 50), min_size=1, max_size=40), seed=st.integers(0, 5), data=st.data())
def test_a_smaller_amount_is_the_shortest_prefix_of_a_larger(counts: list[int], seed: int, data: st.DataObject) -> None:
    amounts = data.draw(st.lists(st.integers(1, sum(counts)), min_size=1, max_size=4))
    nested = nested_amounts(conversations(len(counts)), counts, amounts, seed=seed)
    assert sorted(nested.order) == list(range(len(counts)))
    for amount in amounts:
        chosen = nested.order[: nested.prefix[amount]]
        held = sum(counts[index] for index in chosen)
        assert held == nested.tokens[amount] >= amount > held - counts[chosen[-1]]


def test_the_order_follows_ids_not_the_order_of_the_file() -> None:
    data, counts = conversations(30), list(range(1, 31))
    one = nested_amounts(data, counts, [100], seed=3)
    other = nested_amounts(data[::-1], counts[::-1], [100], seed=3)
    assert [data[index].id for index in one.order] == [data[::-1][index].id for index in other.order]
    assert one.order != nested_amounts(data, counts, [100], seed=4).order


def test_an_amount_beyond_the_data_says_how_much_there_is() -> None:
    with pytest.raises(InputError, match=r"500 tokens are wanted, the data holds 60 in 3 conversations"):
        nested_amounts(conversations(3), [10, 20, 30], [10, 500], seed=0)


def test_replay_takes_each_text_once_until_the_tokens_are_reached() -> None:
    texts = [f"text {number}" for number in range(10)]
    taken = take_replay(texts, [7] * 10, 30, seed=1)
    assert len(taken) == len(set(taken)) == 5  # 4 texts hold 28 tokens, 5 hold 35
    assert take_replay(texts, [7] * 10, 30, seed=1) == taken
    assert take_replay(texts, [7] * 10, 0, seed=1) == []
    with pytest.raises(InputError, match="the texts hold 70"):
        take_replay(texts, [7] * 10, 71, seed=1)


def test_counts_must_fit_the_records() -> None:
    with pytest.raises(InputError, match="2 token counts for 3 conversations"):
        nested_amounts(conversations(3), [1, 2], [1], seed=0)


def test_a_mixture_gives_each_source_its_share_of_tokens() -> None:
    data = conversations(100, "x") + conversations(30, "y") + conversations(5, "z")
    counts = [10] * 135
    chosen = mix_sources(data, counts, {"x": 0.75, "y": 0.25}, seed=0)
    tokens = {name: sum(counts[i] for i in chosen if data[i].source == name) for name in "xyz"}
    # y's 300 tokens are a quarter of 1,200; x's 1,000 would be three quarters of 1,333: y sets the size.
    assert tokens == {"x": 900, "y": 300, "z": 0}
    with pytest.raises(InputError, match="no tokens of source q"):
        mix_sources(data, counts, {"x": 0.5, "q": 0.5}, seed=0)
    with pytest.raises(InputError, match=r"sum to 0\.8"):
        mix_sources(data, counts, {"x": 0.5, "y": 0.3}, seed=0)
