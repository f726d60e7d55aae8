"""What a training needs of memory and disk, held against what there is before a weight is read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from msgspec import Struct
from safetensors import SafetensorError
from torch.distributed.checkpoint.api import CheckpointException
from transformers import AutoModelForCausalLM

from epigone.errors import DiskError, TrainingError
from epigone.train.head import CHUNK_ELEMENTS
from epigone.train.machine import choose_device, free_memory_bytes
from epigone.train.parallel import Team
from epigone.train.spec import LoraSpec, TrainSpec
from epigone.train.student_model import open_config
from epigone.train.weights import choose_precision

__all__ = ["MemoryNeed", "check_disk", "check_memory", "full_disk_named", "memory_needs", "micro_batch_blocks"]

_MICRO_BATCH_TOKENS = 4096
_ACTIVATION_BYTES = 57
"""Bytes kept for the way back a token, layer and hidden unit in 16 bits, with attention that keeps no probabilities.

Measured on transformers' own code (dev/log/train.md): llama 45, gpt2 56, qwen3 57, gpt-neox 30; gemma 2 takes 140. An
implementation that rounds everything would take 34 (Korthikanti et al. 2022, arXiv 2205.05198, equation 1)."""
_STATE_BYTES = 12
"""Bytes of a checkpoint a trained number: float32 weight and two moments."""

_FULL = 1 << 20
"""Less than so many bytes free is no space left, whatever the error says."""


class MemoryNeed(Struct, frozen=True):
    """Bytes on each device. ``state``: weights, gradients and optimizer state, which must fit. ``activations``: of one
    micro-batch, an estimate. ``host``: float32 weights as they are read, in the machine's own memory, a process."""

    parameters: int
    trained: int
    state: int
    activations: int
    host: int

    @property
    def total(self) -> int:
        """State and activations."""
        return self.state + self.activations


def memory_needs(spec: TrainSpec, config: Any, devices: Sequence[int]) -> dict[int, MemoryNeed]:
    """What each of so many devices must hold to train a model of this configuration; reads no weight."""
    text = config.get_text_config()
    rounded = choose_precision(spec.precision, choose_device(spec.device), text.hidden_size) == torch.bfloat16
    model = _empty(config)
    weights = _count(model)
    trained, frozen = weights, 0
    if spec.lora is not None:
        tables = _tables(model) if spec.chat_format == "turn_tokens" else 0  # new turn tokens are trained as well
        trained, frozen = _lora_parameters(spec.lora, model) + tables, weights - tables
    taught = 0 if spec.distil is None else _count(_empty(open_config(spec.distil.hf)))
    width = (2 if rounded else 4) * micro_batch_blocks(spec) * spec.block_tokens * text.hidden_size
    layer = width * _ACTIVATION_BYTES // 2
    kept = layer + width * text.num_hidden_layers if spec.gradient_checkpointing else layer * text.num_hidden_layers
    head = (3 if spec.distil is None else 6) * 4 * max(CHUNK_ELEMENTS, text.vocab_size)
    found: dict[int, MemoryNeed] = {}
    for count in devices:
        state = 16 * trained  # float32: weights, gradients and two moments
        if count > 1:  # FSDP2 shards float32 weights and rounds what it gathers
            state = (state + 4 * (frozen + taught)) // count
        elif rounded:  # copies of everything that is computed with
            state += 2 * (trained + frozen + taught)
        else:
            state += 4 * (frozen + taught)
        activations = kept // spec.tensor_parallel + head
        found[count] = MemoryNeed(weights, trained, state, activations, 4 * (weights + taught))
    return found


def micro_batch_blocks(spec: TrainSpec) -> int:
    """Blocks in one forward pass: as asked, or the largest part of a batch with at most 4,096 tokens."""
    if spec.micro_batch_blocks is not None:
        return spec.micro_batch_blocks
    fits = [
        rows
        for rows in range(1, spec.batch_blocks + 1)
        if spec.batch_blocks % rows == 0 and rows * spec.block_tokens <= _MICRO_BATCH_TOKENS
    ]
    return max(fits, default=1)


def check_memory(need: MemoryNeed, device: torch.device, team: Team) -> None:
    """Refuse a training whose state alone is larger than what is free; activations are only estimated, so not counted.

    Raises:
        TrainingError: with what is needed, what there is, and what to change.
    """
    cpu = torch.device("cpu")
    on_cpu = device.type == "cpu"
    asked = [(cpu, team.local_size * (max(need.state, need.host) if on_cpu else need.host))]
    if not on_cpu:
        asked.append((device, need.state))
    found = [(where, bytes_needed, free_memory_bytes(where)) for where, bytes_needed in asked]
    if team.mesh is not None:
        dist.barrier()  # nobody reads weights while another still looks at what is free
    for where, bytes_needed, free in found:
        if bytes_needed > free:
            raise TrainingError(
                f"weights, gradients and optimizer state of {need.parameters:,} parameters need "
                f"{_gib(bytes_needed)} of memory, {_gib(free)} are free",
                where=str(where),
                fix="choose a smaller base, train adapters (lora: {rank: 16}), or start it on more devices (torchrun)",
            )


def check_disk(spec: TrainSpec, need: MemoryNeed, config: Any, out: Path, work: Path | None) -> None:
    """Refuse a training whose student and checkpoints are larger than the free space where they shall be written.

    Raises:
        DiskError: with what is needed, what there is, and what to change.
    """
    saved = (config.dtype or torch.float32) if spec.save_dtype == "auto" else getattr(torch, spec.save_dtype)
    asked = [(out, need.parameters * int(saved.itemsize))]
    if work is not None:
        often = spec.checkpoint_every_steps is not None or spec.checkpoint_every_minutes is not None
        copies = spec.keep + 1 if often else 1  # the newest is whole before the oldest goes
        there = sum(file.stat().st_size for file in work.rglob("*") if file.is_file()) if work.is_dir() else 0
        asked.append((work, max(0, copies * _STATE_BYTES * need.trained - there)))
    by_disk: dict[int, list[tuple[Path, int]]] = {}
    for path, wanted in asked:
        by_disk.setdefault(_existing(path).stat().st_dev, []).append((path, wanted))
    for on_it in by_disk.values():
        path, wanted = on_it[0][0], sum(bytes_needed for _, bytes_needed in on_it)
        free = shutil.disk_usage(_existing(path)).free
        if wanted > free:
            raise DiskError(
                f"the student and its checkpoints need {_gib(wanted)} of disk, {_gib(free)} are free",
                where=str(path),
                fix=f"free some space, choose another folder, or keep fewer checkpoints than {spec.keep} (keep: 1)",
            )


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Safetensors and torch have errors of their own for a write that failed: say it in one way, with the fix."""
    try:
        yield
    except (SafetensorError, RuntimeError, CheckpointException) as error:
        full = shutil.disk_usage(_existing(path)).free < _FULL
        raise DiskError(
            f"cannot write: {'no space left on the device' if full else str(error).strip().splitlines()[-1]}",
            where=str(path),
            fix="free some space and run the same command again: it goes on from the last whole checkpoint",
        ) from error


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _empty(config: Any) -> Any:
    """A model of this configuration without numbers; the caller's random state is left alone."""
    with torch.random.fork_rng(devices=()), torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def _count(model: Any) -> int:
    return sum(weight.numel() for weight in model.parameters())


def _lora_parameters(lora: LoraSpec, model: Any) -> int:
    """Numbers in the adapters of every linear layer but the head (``targets`` would adapt fewer)."""
    head = model.get_output_embeddings()
    kinds = ("Linear", "Conv1D")
    layers = [module for module in model.modules() if type(module).__name__ in kinds and module is not head]
    return sum(lora.rank * sum(layer.weight.shape) for layer in layers)


def _tables(model: Any) -> int:
    """Numbers in the embeddings and the head; tied ones count once."""
    tables = {id(table.weight): table.weight for table in (model.get_input_embeddings(), model.get_output_embeddings())}
    return sum(table.numel() for table in tables.values())


def _gib(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**28 else f"{count / 2**20:,.1f} MiB"
