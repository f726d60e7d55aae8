"""Conversations and texts as tokens, with the tokens to learn marked from character offsets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from epigone.errors import DataError
from epigone.records import Conversation
from epigone.train.chat import Chat, Rendered, starts_with_bos
from epigone.train.spec import TrainSpec

__all__ = ["Example", "Examples", "count_tokens", "encode_conversations", "encode_data", "encode_texts", "hold_out"]

_BATCH = 1000  # conversations handed to the tokenizer at once


class Example(Struct, frozen=True):
    """A training example.

    ``ids``: int32 (n,), the tokens. ``learnt``: bool (n,), whether the token is a target, predicted from those before.
    ``id``, ``source``: of the conversation; ``replay`` marks plain text that is mixed in.
    """

    id: str
    source: str
    ids: NDArray[np.int32]
    learnt: NDArray[np.bool_]
    replay: bool = False


class Examples(Struct, frozen=True):
    """What encoding gave: the examples, and the ids of the conversations it left out, by reason.

    ``ends``: the tokens that close the model's outputs, ascending.
    """

    examples: tuple[Example, ...]
    left_out: dict[str, tuple[str, ...]]
    ends: tuple[int, ...] = ()


def hold_out(
    conversations: Sequence[Conversation], share: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """The conversations to learn, and ``share`` of them (at least one, never all) to measure; drawn by the seed.

    Raises:
        DataError: there are none.
    """
    total = len(conversations)
    if not total:
        raise DataError("there are no conversations to train on", fix="look at what curation dropped, and why")
    count = min(max(1, round(share * total)), total - 1) if share else 0
    chosen = set(np.random.default_rng([seed, 1]).permutation(total)[:count].tolist())
    kept = [conversation for index, conversation in enumerate(conversations) if index not in chosen]
    return kept, [conversations[index] for index in sorted(chosen)]


def encode_data(
    tokenizer: Any, chat: Chat, conversations: Sequence[Conversation], replay: Sequence[str], spec: TrainSpec
) -> Examples:
    """All that a student learns: conversations, then replay text.

    Raises:
        DataError: as :func:`encode_conversations`; nothing is left of the conversations.
    """
    encoded = encode_conversations(tokenizer, chat, conversations, spec)
    if not encoded.examples:
        left_out = ", ".join(encoded.left_out)
        raise DataError(
            f"no conversation is left to train on: {left_out or 'nothing in them is learnt'}",
            fix="raise block_tokens, or set long_turns to cut",
        )
    texts = encode_texts(tokenizer, replay, spec, name="replay", replay=True)
    return replace(encoded, examples=(*encoded.examples, *texts))


def encode_conversations(
    tokenizer: Any, chat: Chat, conversations: Sequence[Conversation], spec: TrainSpec
) -> Examples:
    """Tokenize, mark what is learnt, split what is longer than a block at its turns.

    Raises:
        DataError: a conversation without assistant turn; exchanges longer than a block when ``long_turns`` is error.
    """
    examples: list[Example] = []
    too_long: list[tuple[str, int]] = []  # id, tokens of its longest exchange
    ends: set[int] = set()
    special = _special_ids(tokenizer)
    for start in range(0, len(conversations), _BATCH):
        batch = conversations[start : start + _BATCH]
        rendered = [chat.render(conversation) for conversation in batch]
        for conversation, text, tokens in zip(batch, rendered, _tokenize(tokenizer, chat, rendered), strict=True):
            ids, learnt, exchanges = _mark(special, conversation.id, text, tokens)
            ends.add(int(ids[learnt][-1]))
            short = spec.packing == "cut" or len(ids) <= spec.block_tokens
            longest = max(end - start for start, end in pairwise(exchanges))
            if not short and longest > spec.block_tokens and spec.long_turns != "cut":
                too_long.append((conversation.id, longest))
                continue
            for first, last in [(0, len(ids))] if short else _split_at_exchanges(exchanges, spec.block_tokens):
                if learnt[first + 1 : last].any():
                    piece = Example(conversation.id, conversation.source, ids[first:last], learnt[first:last])
                    examples.append(piece)
    if too_long and spec.long_turns == "error":
        raise _too_long(too_long, spec.block_tokens)
    left_out = {"long_turn": tuple(identity for identity, _ in too_long)} if too_long else {}
    return Examples(tuple(examples), left_out, tuple(sorted(ends)))


def encode_texts(
    tokenizer: Any, texts: Sequence[str], spec: TrainSpec, *, name: str, replay: bool = False
) -> list[Example]:
    """Plain text, every token learnt; an end token closes each text. Longer ones are cut every ``block_tokens``."""
    opening = [tokenizer.bos_token_id] if starts_with_bos(tokenizer) else []
    backend = tokenizer.backend_tokenizer
    examples: list[Example] = []
    for start in range(0, len(texts), _BATCH):
        encodings = backend.encode_batch(list(texts[start : start + _BATCH]), add_special_tokens=False)
        for offset, encoding in enumerate(encodings):
            ids = np.array([*opening, *encoding.ids, tokenizer.eos_token_id], dtype=np.int32)
            step = len(ids) if spec.packing == "cut" else spec.block_tokens
            for first in range(0, len(ids), step):
                part = ids[first : first + step]
                if len(part) > 1 or spec.packing == "cut":
                    whole = np.ones(len(part), dtype=np.bool_)
                    examples.append(Example(f"{name}:{start + offset}", name, part, whole, replay))
    return examples


def count_tokens(tokenizer: Any, chat: Chat, conversations: Iterable[Conversation]) -> list[int]:
    """Tokens of each conversation in ``chat``'s format, its markers and end tokens included."""
    rendered = [chat.render(conversation) for conversation in conversations]
    counts: list[int] = []
    for start in range(0, len(rendered), _BATCH):
        counts += [len(ids) for ids, _ in _tokenize(tokenizer, chat, rendered[start : start + _BATCH])]
    return counts


_Tokens = tuple[NDArray[np.int32], NDArray[np.int64]]  # ids (n,), character offsets (n, 2)


def _tokenize(tokenizer: Any, chat: Chat, rendered: Sequence[Rendered]) -> list[_Tokens]:
    """Ids and character offsets of each text, as a generation would see it.

    A prompt is tokenized up to where the model's output begins, so training text must be cut there as well: a template
    that ends in line feeds before an output would otherwise give other tokens. A turn token is such a cut by itself.
    """
    backend = tokenizer.backend_tokenizer
    if not chat.tokens_open_turns:
        return [_tokenize_in_parts(backend, text) for text in rendered]
    encodings = backend.encode_batch([text.text for text in rendered], add_special_tokens=False)
    return [
        (np.array(encoding.ids, dtype=np.int32), np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2))
        for encoding in encodings
    ]


def _tokenize_in_parts(backend: Any, text: Rendered) -> _Tokens:
    cuts = [0, *(start for start, _ in text.learnt), len(text.text)]
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    for first, last in pairwise(cuts):
        encoding = backend.encode(text.text[first:last], add_special_tokens=False)
        ids += encoding.ids
        offsets += [(start + first, end + first) for start, end in encoding.offsets]
    return np.array(ids, dtype=np.int32), np.array(offsets, dtype=np.int64).reshape(-1, 2)


def _special_ids(tokenizer: Any) -> list[int]:
    """Special tokens: those with a role, and others marked as special (often all that a template's end of turn is)."""
    marked = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return sorted(marked.union(tokenizer.all_special_ids))


def _mark(
    special: Sequence[int], identity: str, text: Rendered, tokens: _Tokens
) -> tuple[NDArray[np.int32], NDArray[np.bool_], list[int]]:
    """Ids, which of them are learnt, and the token indexes that bound the exchanges (the first is 0, the last n)."""
    ids, offsets = tokens
    starts, ends = offsets[:, 0], offsets[:, 1]
    learnt = np.zeros(len(ids), dtype=np.bool_)
    for first, last in text.learnt:
        inside = (starts >= first) & (ends <= last) & (ends > starts)
        stop = np.flatnonzero(inside & np.isin(ids, special))
        if len(stop) == 0:
            raise DataError(
                "the chat template closes the model's turn with no special token: a student would never learn to stop",
                where=f"conversation {identity}",
                fix="use chat_format: turn_tokens",
            )
        inside[stop[-1] + 1 :] = False  # what a template writes after its end token is not the model's
        learnt |= inside
    bounds = [int(bound) for bound in np.searchsorted(starts, text.exchanges, side="left")]
    return ids, learnt, [0, *bounds[1:], len(ids)]


def _split_at_exchanges(bounds: Sequence[int], block_tokens: int) -> list[tuple[int, int]]:
    """Token ranges of at most a block, each of as many whole exchanges as fit; what is longer alone is cut."""
    spans: list[tuple[int, int]] = []
    first = 0
    for start, end in pairwise(bounds):
        if end - first > block_tokens and start > first:
            spans.append((first, start))
            first = start
    spans.append((first, bounds[-1]))
    return [(start, min(end, start + block_tokens)) for start, end in spans]


def _too_long(found: Sequence[tuple[str, int]], block_tokens: int) -> DataError:
    (identity, tokens), others = found[0], len(found) - 1
    so_are = f"; {others:,} more conversations have one as long" if others else ""
    return DataError(
        f"an exchange of {tokens} tokens does not fit a block of {block_tokens}{so_are}",
        where=f"conversation {identity}",
        fix="raise block_tokens up to the model's context, or set long_turns to drop or cut",
    )
