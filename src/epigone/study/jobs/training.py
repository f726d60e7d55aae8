"""One arm: so many tokens of one data set, some replay, one seed, from one base."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from epigone.curate import nested_amounts, take_replay
from epigone.disk import read_jsonl, write_json
from epigone.records import Conversation
from epigone.study.externals import attach
from epigone.study.job import JobContext
from epigone.train import TrainSpec, count_conversation_tokens, count_text_tokens, train_student

__all__ = ["ArmFacts", "train_arm"]


class _TrainParams(Struct, frozen=True):
    train: dict[str, Any]
    amount: int | Literal["all"]
    replay: float
    seed: int
    order_seed: int


class _Text(Struct, frozen=True):
    text: str


class ArmFacts(Struct, frozen=True, kw_only=True):
    """``arm.json``: what a student was given. ``imitation_tokens``: by its own tokenizer, turn tokens counted."""

    conversations: int
    imitation_tokens: int
    replay_texts: int


def train_arm(context: JobContext) -> None:
    """Write ``student/`` (a Hugging Face folder with ``train.json``) and ``arm.json``.

    Raises:
        InputError: the data or the replay text holds fewer tokens than the arm asks for.
        TrainingError: the loss is not a number.
    """
    params = context.params(_TrainParams)
    spec = attach(TrainSpec, {**params.train, "threads": context.threads}, context)
    base = context.file("base")
    conversations = read_jsonl(context.inputs["data"] / "conversations.jsonl", Conversation)
    counts = count_conversation_tokens(base, conversations, spec)
    amount = sum(counts) if params.amount == "all" else params.amount
    nested = nested_amounts(conversations, counts, [amount], seed=params.order_seed)
    chosen = [conversations[index] for index in nested.order[: nested.prefix[amount]]]
    replay: list[str] = []
    if params.replay:
        texts = [line.text for line in read_jsonl(context.file("replay"), _Text)]
        wanted = round(nested.tokens[amount] * params.replay / (1 - params.replay))
        replay = take_replay(texts, count_text_tokens(base, texts), wanted, seed=params.order_seed)
    train_student(
        spec,
        base=base,
        conversations=chosen,
        out=context.folder / "student",
        seed=params.seed,
        replay=replay,
        work=context.work,
        progress=context.progress,
    )
    facts = ArmFacts(conversations=len(chosen), imitation_tokens=nested.tokens[amount], replay_texts=len(replay))
    write_json(context.folder / "arm.json", msgspec.to_builtins(facts))
