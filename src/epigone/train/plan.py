"""What a training will take, from the base's configuration alone: no weight is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from epigone.train.head import CHUNK_ELEMENTS
from epigone.train.record import TrainPlan
from epigone.train.schedule import warmup_steps, warmup_warning
from epigone.train.spec import TrainSpec
from epigone.train.student_model import context_tokens, open_config
from epigone.train.training import choose_device, micro_batch_blocks
from epigone.train.weights import choose_precision

__all__ = ["plan_training"]

_DEVICES = (1, 2, 4, 8, 16, 32, 64)
_ACTIVATION_BYTES = 34
"""Bytes of activations a token, layer and hidden unit in 16 bits, with attention that keeps no probabilities
(Korthikanti et al. 2022, arXiv 2205.05198, equation 1 without its attention term)."""
_FEW_STEPS = 30


def plan_training(spec: TrainSpec, *, base: Path | str, tokens: int) -> TrainPlan:
    """Steps, warm-up, memory and warnings of a training on ``tokens`` tokens of data.

    Raises:
        ModelError: there is no configuration of a causal language model at ``base``.
    """
    config = open_config(base)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    parameters = sum(weight.numel() for weight in model.parameters())
    per_step = spec.batch_blocks * spec.block_tokens
    steps = spec.max_steps or max(1, round(-(-tokens * spec.epochs // per_step)))
    return TrainPlan(
        model_type=config.model_type,
        parameters=parameters,
        tokens=tokens,
        steps=steps,
        warmup_steps=warmup_steps(spec, steps),
        warmup_share=warmup_steps(spec, steps) / steps,
        tokens_per_step=per_step,
        memory_bytes={devices: _memory_bytes(spec, config, model, devices) for devices in _DEVICES},
        warnings=tuple(_warnings(spec, config, steps, tokens)),
    )


def _memory_bytes(spec: TrainSpec, config: Any, model: Any, devices: int) -> int:
    """Bytes on each of ``devices``: state is sharded evenly, activations are those of one micro-batch."""
    text = config.get_text_config()
    rounded = choose_precision(spec.precision, choose_device(spec.device), text.hidden_size) == torch.bfloat16
    weights = sum(weight.numel() for weight in model.parameters())
    trained = weights if spec.lora is None else _lora_parameters(spec.lora.rank, model)
    state = 4 * weights + 12 * trained  # float32 weights; gradients and two moments
    if rounded:
        state += 2 * (weights + trained)  # the copies that are computed with, and their gradients
    tokens = micro_batch_blocks(spec) * spec.block_tokens
    width = (2 if rounded else 4) * tokens * text.hidden_size
    layer = width * _ACTIVATION_BYTES // 2
    activations = (
        layer + width * text.num_hidden_layers if spec.gradient_checkpointing else layer * text.num_hidden_layers
    )
    head = 3 * 4 * max(CHUNK_ELEMENTS, text.vocab_size)
    return int(state // devices + activations // spec.tensor_parallel + head)


def _lora_parameters(rank: int, model: Any) -> int:
    head = model.get_output_embeddings()
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head]
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers)


def _warnings(spec: TrainSpec, config: Any, steps: int, tokens: int) -> list[str]:
    found: list[str] = []
    long_rise = warmup_warning(spec, steps)
    if long_rise:
        found.append(long_rise)
    if steps < _FEW_STEPS:
        found.append(
            f"{tokens:,} tokens are only {steps} steps of {spec.batch_blocks} blocks: "
            f"new turn tokens start untrained; lower batch_blocks or block_tokens"
        )
    bound = context_tokens(config)
    if bound is not None and spec.block_tokens > bound:
        found.append(
            f"block_tokens {spec.block_tokens} is longer than the model's context of {bound}: training will refuse"
        )
    return found
