"""What is learnt: exactly the model's turns and their end tokens, in every format and with every kind of tokenizer."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epigone.errors import DataError, ModelError
from epigone.records import Conversation, Message
from epigone.train.chat import Chat, open_chat
from epigone.train.examples import encode_conversations, encode_texts
from epigone.train.spec import TrainSpec

_spec = importlib.util.spec_from_file_location("train_makers", Path(__file__).with_name("conftest.py"))
assert _spec is not None and _spec.loader is not None
makers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(makers)

FORMATS = ("turn_tokens", "tokenizer_template", "koala")
LONG = TrainSpec(block_tokens=100_000)

text = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t") | st.sampled_from(" \n.aé字🙂▁"),
    max_size=25,
).filter(lambda value: "<" not in value and "▁" not in value)


@st.composite
def some_conversation(draw: st.DrawFn) -> Conversation:
    messages = []
    if draw(st.booleans()):
        messages.append(Message("system", draw(text)))
    for _ in range(draw(st.integers(1, 3))):
        messages += [Message("user", draw(text)), Message("assistant", draw(text))]
    return Conversation(id="x", messages=tuple(messages))


@cache
def prepared(name: str, format: Any) -> tuple[Any, Chat]:
    tokenizer = makers.MAKERS[name]()
    return tokenizer, open_chat(tokenizer, format)


def runs_of(flags: np.ndarray) -> list[tuple[int, int]]:
    """Maximal runs of True as (first, after the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", list(makers.MAKERS))
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(conversation=some_conversation())
def test_the_learnt_tokens_are_the_models_turns_with_their_end(
    name: str, format: str, conversation: Conversation
) -> None:
    tokenizer, chat = prepared(name, format)
    (example,) = encode_conversations(tokenizer, chat, [conversation], LONG).examples
    turns = [message.content for message in conversation.messages if message.role == "assistant"]
    runs = runs_of(example.learnt)
    assert len(runs) == len(turns)
    for (first, last), turn in zip(runs, turns, strict=True):
        assert example.ids[last - 1] == tokenizer.eos_token_id
        before = tokenizer.decode(example.ids[:first])
        assert tokenizer.decode(example.ids[:last]) == before + turn + tokenizer.eos_token


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", list(makers.MAKERS))
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(conversation=some_conversation())
def test_a_generation_starts_from_exactly_the_tokens_seen_in_training(
    name: str, format: str, conversation: Conversation
) -> None:
    """The saved template, with a generation prompt, gives the tokens that stand before the first learnt one."""
    tokenizer, chat = prepared(name, format)
    (example,) = encode_conversations(tokenizer, chat, [conversation], LONG).examples
    opening = next(index for index, message in enumerate(conversation.messages) if message.role == "assistant")
    prompt = [{"role": message.role, "content": message.content} for message in conversation.messages[:opening]]
    ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=True)[
        "input_ids"
    ]
    assert ids == example.ids[: int(np.argmax(example.learnt))].tolist()


def test_turn_tokens_by_hand() -> None:
    tokenizer, chat = prepared("gpt2", "turn_tokens")
    conversation = Conversation(id="x", messages=(Message("user", "who?"), Message("assistant", "the cat")))
    (example,) = encode_conversations(tokenizer, chat, [conversation], LONG).examples
    assert tokenizer.decode(example.ids) == "<|user|>who?<|assistant|>the cat<|endoftext|>"
    assert tokenizer.decode(example.ids[example.learnt]) == "the cat<|endoftext|>"
    assert chat.new_tokens == ("<|system|>", "<|user|>", "<|assistant|>")


def test_koala_markers_by_hand() -> None:
    _, chat = prepared("llama2", "koala")
    conversation = Conversation(id="x", messages=(Message("user", "who?"), Message("assistant", "the cat")) * 2)
    rendered = chat.render(conversation)
    assert rendered.text == "<s>BEGINNING OF CONVERSATION: USER: who? GPT:the cat</s> USER: who? GPT:the cat</s>"
    assert [rendered.text[first:last] for first, last in rendered.learnt] == ["the cat</s>"] * 2
    assert chat.new_tokens == ()


def test_a_token_that_would_reach_over_the_turns_beginning_is_split_there() -> None:
    """``\\n\\n`` is one token of this tokenizer; the template ends in ``\\n`` and the answer begins with one."""
    tokenizer, chat = prepared("qwen", "tokenizer_template")
    assert len(tokenizer("\n\n")["input_ids"]) == 1
    conversation = Conversation(id="x", messages=(Message("user", "a"), Message("assistant", "\n\n b")))
    (example,) = encode_conversations(tokenizer, chat, [conversation], LONG).examples
    assert tokenizer.decode(example.ids[example.learnt]) == "\n\n b<|im_end|>"


def test_long_conversations_are_split_where_a_user_speaks() -> None:
    tokenizer, chat = prepared("gpt2", "turn_tokens")
    exchange = (Message("user", "cat"), Message("assistant", "dog"))
    one = Conversation(id="x", messages=exchange)
    (short,) = encode_conversations(tokenizer, chat, [one], LONG).examples
    length = len(short.ids)
    block = TrainSpec(block_tokens=max(8, 2 * length))
    long = Conversation(id="x", messages=exchange * 5)
    pieces = encode_conversations(tokenizer, chat, [long], block).examples
    assert [len(piece.ids) for piece in pieces] == [2 * length, 2 * length, length]
    assert all(tokenizer.decode(piece.ids[:1]) == "<|user|>" for piece in pieces)


@pytest.mark.parametrize(("choice", "kept"), [("drop", 0), ("cut", 1)])
def test_an_exchange_longer_than_a_block_is_named_dropped_or_cut(choice: str, kept: int) -> None:
    tokenizer, chat = prepared("gpt2", "turn_tokens")
    long = Conversation(id="too long", messages=(Message("user", "cat"), Message("assistant", "dog " * 50)))
    with pytest.raises(DataError, match=r"conversation too long: an exchange of \d+ tokens does not fit a block of 16"):
        encode_conversations(tokenizer, chat, [long], TrainSpec(block_tokens=16))
    with pytest.raises(DataError, match="block of 16; 2 more conversations have one as long"):
        encode_conversations(tokenizer, chat, [long] * 3, TrainSpec(block_tokens=16))
    found = encode_conversations(tokenizer, chat, [long], TrainSpec(block_tokens=16, long_turns=choice))
    assert len(found.examples) == kept
    assert all(len(example.ids) <= 16 for example in found.examples)
    assert found.left_out == ({} if kept else {"long_turn": ("too long",)})


def test_plain_text_is_learnt_whole_with_an_end_and_cut_into_blocks() -> None:
    tokenizer, _ = prepared("llama3", "turn_tokens")
    (example,) = encode_texts(tokenizer, ["the cat"], LONG, name="text")
    assert tokenizer.decode(example.ids) == "<|begin|>the cat<|eot|>"
    assert example.learnt.all()
    pieces = encode_texts(tokenizer, ["the cat " * 20], TrainSpec(block_tokens=8), name="text")
    assert all(len(piece.ids) <= 8 for piece in pieces)


def test_what_cannot_be_learnt_from_is_refused_by_name() -> None:
    tokenizer, chat = prepared("gpt2", "turn_tokens")
    silent = Conversation(id="q7", messages=(Message("user", "who?"),))
    with pytest.raises(DataError, match="conversation q7: this conversation has no assistant turn"):
        encode_conversations(tokenizer, chat, [silent], LONG)


def test_a_template_that_never_closes_the_models_turn_is_refused() -> None:
    tokenizer = makers.MAKERS["gpt2"]()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    chat = open_chat(tokenizer, "tokenizer_template")
    conversation = Conversation(id="x", messages=(Message("user", "a"), Message("assistant", "b")))
    with pytest.raises(DataError, match="closes the model's turn with no special token"):
        encode_conversations(tokenizer, chat, [conversation], LONG)


def test_a_template_that_writes_todays_date_gives_the_same_text_every_day() -> None:
    """As Llama 3.2's asks the clock; each day's training would be another one."""
    tokenizer = makers.MAKERS["llama3"]()
    asked = "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    tokenizer.chat_template = asked + makers.LLAMA3.replace("{{ bos_token }}", "{{ bos_token + date_string }}")
    chat = open_chat(tokenizer, "tokenizer_template")
    told = Conversation(id="x", messages=(Message("user", "a"), Message("assistant", "b")))
    assert chat.render(told).text.startswith("<|begin|>26 Jul 2024<|start|>user<|stop|>")


def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    tokenizer = makers.MAKERS["gpt2"]()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>' + (m['content'] if loop.last else '...') + eos_token }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    )
    chat = open_chat(tokenizer, "tokenizer_template")
    twice = Conversation(id="x", messages=(Message("user", "a"), Message("assistant", "b")) * 2)
    with pytest.raises(ModelError, match="writes a turn differently when others follow"):
        encode_conversations(tokenizer, chat, [twice], LONG)


def test_a_tokenizer_without_end_token_or_template_is_refused() -> None:
    tokenizer = makers.byte_level(["<x>"], None)
    with pytest.raises(ModelError, match="no end token"):
        open_chat(tokenizer, "turn_tokens")
    with pytest.raises(ModelError, match="no chat template"):
        open_chat(makers.byte_level(["<e>"], None, eos_token="<e>"), "tokenizer_template")
