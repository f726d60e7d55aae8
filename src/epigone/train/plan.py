"""What a training will take, from the base's configuration and tokenizer: no weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from epigone.records import Conversation
from epigone.train.capacity import MemoryNeed, memory_needs
from epigone.train.chat import open_chat
from epigone.train.examples import encode_data, hold_out
from epigone.train.machine import choose_device, free_memory_bytes
from epigone.train.packing import fill_rate, pack
from epigone.train.record import TrainPlan
from epigone.train.schedule import warmup_steps, warmup_warning
from epigone.train.spec import TrainSpec
from epigone.train.student_model import context_tokens, open_config, open_tokenizer

__all__ = ["plan_student", "plan_training"]

_DEVICES = (1, 2, 4, 8, 16, 32, 64)
_FEW_STEPS = 30


def plan_student(
    spec: TrainSpec, *, base: Path | str, conversations: Sequence[Conversation], seed: int, replay: Sequence[str] = ()
) -> TrainPlan:
    """The plan of a training on these very data, tokenized and packed as ``train_student`` would.

    Raises:
        DataError, ModelError: what would be wrong with the data, the base or its tokenizer then.
    """
    kept, _ = hold_out(conversations, spec.heldout_share, seed)
    tokenizer = open_tokenizer(base)
    examples = encode_data(tokenizer, open_chat(tokenizer, spec.chat_format), kept, replay, spec).examples
    blocks = pack([len(example.ids) for example in examples], spec.packing, spec.block_tokens)
    plan = plan_training(spec, base=base, tokens=sum(block.tokens for block in blocks), blocks=len(blocks))
    return replace(plan, fill_rate=fill_rate(blocks, spec))


def plan_training(spec: TrainSpec, *, base: Path | str, tokens: int, blocks: int | None = None) -> TrainPlan:
    """Steps, warm-up, memory and warnings of a training on ``tokens`` tokens of data.

    Args:
        blocks: how many they make; ``None``: as many as if each were full.

    Raises:
        ModelError: there is no configuration of a causal language model at ``base``.
    """
    config = open_config(base)
    per_step = spec.batch_blocks * spec.block_tokens
    visits = max(1, round(spec.epochs * (blocks or -(-tokens // spec.block_tokens))))
    steps = spec.max_steps or -(-visits // spec.batch_blocks)
    needs = memory_needs(spec, config, _DEVICES)
    return TrainPlan(
        model_type=config.model_type,
        parameters=needs[1].parameters,
        tokens=tokens,
        steps=steps,
        warmup_steps=warmup_steps(spec, steps),
        warmup_share=warmup_steps(spec, steps) / steps,
        tokens_per_step=per_step,
        memory_bytes={devices: need.total for devices, need in needs.items()},
        warnings=tuple(_warnings(spec, config, steps, tokens, needs)),
        blocks=blocks,
    )


def _warnings(spec: TrainSpec, config: Any, steps: int, tokens: int, needs: dict[int, MemoryNeed]) -> list[str]:
    found: list[str] = []
    long_rise = warmup_warning(spec, steps)
    if long_rise:
        found.append(long_rise)
    if steps < _FEW_STEPS:
        result = "new turn tokens start untrained" if spec.chat_format == "turn_tokens" else "the student hardly moves"
        found.append(
            f"{tokens:,} tokens are only {steps} {'step' if steps == 1 else 'steps'} of {spec.batch_blocks} blocks: "
            f"{result}; lower batch_blocks or block_tokens"
        )
    bound = context_tokens(config)
    if bound is not None and spec.block_tokens > bound:
        found.append(
            f"block_tokens {spec.block_tokens} is longer than the model's context of {bound}: training will refuse"
        )
    device = choose_device(spec.device)
    free = free_memory_bytes(device)
    if needs[1].total > free:
        enough = [devices for devices, need in needs.items() if need.total <= free]
        found.append(
            f"one device takes about {needs[1].total / 2**30:.1f} GiB, here ({device}) {free / 2**30:.1f} are free: "
            + (f"{enough[0]} such devices would do" if enough else "set lora or a smaller micro_batch_blocks")
        )
    return found
