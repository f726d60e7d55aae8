"""What a finished training leaves: a Hugging Face folder with ``train.json`` and ``timing.json``."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import tokenizers
import torch
import transformers

from epigone import __version__
from epigone.disk import atomic_folder, write_json
from epigone.train.adapters import merge_adapters
from epigone.train.examples import Example, Examples
from epigone.train.loop import Course, peak_memory_bytes
from epigone.train.packing import fill_rate
from epigone.train.parallel import gather
from epigone.train.record import Timing, TrainRecord
from epigone.train.schedule import warmup_steps, warmup_warning

__all__ = ["FORMAT", "MACHINE_FIELDS", "Material", "make_record", "save_student"]

FORMAT = 1

MACHINE_FIELDS = {
    "threads",
    "device",
    "keep",
    "log_every",
    "checkpoint_every_steps",
    "checkpoint_every_minutes",
    "trackers",
}
"""Settings that say where and how watched a training runs, not what it computes."""

_PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "B200": 2250e12}
"""Dense bfloat16 FLOPs a second, from the makers' data sheets."""


@dataclass(frozen=True)
class Material:
    """What is trained on, and where it came from."""

    kind: str
    base: str
    base_digest: str
    new_tokens: tuple[str, ...]
    encoded: Examples
    conversations: int
    texts: int
    heldout: Sequence[Example]


def make_record(course: Course, tokenizer: Any, material: Material, data_digest: str, seed: int) -> TrainRecord:
    """The facts of a finished training."""
    spec, model, facts, steps = course.spec, course.objective.model, course.facts, course.order.steps
    warning = warmup_warning(spec, steps)
    left_out = material.encoded.left_out
    return TrainRecord(
        format=FORMAT,
        kind=material.kind,
        base=material.base,
        base_digest=material.base_digest,
        model_type=model.config.model_type,
        parameters=sum(weight.numel() for weight in model.parameters()),
        trained_parameters=sum(weight.numel() for weight in course.weights.named.values()),
        vocabulary=len(tokenizer),
        new_tokens=material.new_tokens,
        seed=seed,
        spec=spec.model_dump(mode="json", exclude=MACHINE_FIELDS),
        optimizer=type(course.optimizer).__name__,
        precision=str(course.dtype).removeprefix("torch."),
        device=course.device.type,
        processes=course.team.size,
        conversations=material.conversations,
        texts=material.texts,
        left_out={reason: len(ids) for reason, ids in left_out.items()},
        left_out_ids=tuple(identity for ids in left_out.values() for identity in ids),
        data_digest=data_digest,
        blocks=len(course.blocks),
        fill_rate=fill_rate(course.blocks, spec),
        steps=steps,
        warmup_steps=warmup_steps(spec, steps),
        tokens=facts.tokens,
        supervised_tokens=facts.supervised_tokens,
        replay_tokens=facts.replay_tokens,
        final_loss=facts.losses[-1].loss,
        losses=facts.losses,
        heldout=facts.heldout,
        warnings=(warning,) if warning else (),
        versions={
            "epigone": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "safetensors": safetensors.__version__,
        },
    )


def save_student(course: Course, tokenizer: Any, record: TrainRecord, out: Path) -> None:
    """Make ``out``, whole or not at all; with several processes the first one writes.

    Adapters are merged, float32 weights put back and turned into the number format of the base (or ``save_dtype``).
    """
    model = course.objective.model
    state: dict[str, torch.Tensor] | None = None
    if course.team.size > 1:
        state = {name: gather(weight).cpu() for name, weight in model.state_dict().items()}
        if not course.team.leads:
            return
    course.weights.restore()
    if course.spec.lora is not None:
        merge_adapters(model)
    saved = course.saved_dtype if course.spec.save_dtype == "auto" else getattr(torch, course.spec.save_dtype)
    if state is None:
        model.to(saved)
    else:
        state = {name: weight.to(saved) for name, weight in state.items()}
    model.config.dtype = saved
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
    )
    with atomic_folder(out) as folder:
        model.save_pretrained(folder, state_dict=state)
        tokenizer.save_pretrained(folder)
        write_json(folder / "train.json", record)
        write_json(folder / "timing.json", _timing(course, record))


def _timing(course: Course, record: TrainRecord) -> Timing:
    facts = course.facts
    seconds = max(facts.seconds, 1e-9)
    machine, peak = f"{platform.machine()}, {os.cpu_count()} cores", None
    if course.device.type == "cuda":
        machine = torch.cuda.get_device_name(course.device)
        peak = next((flops for name, flops in _PEAK_FLOPS.items() if name in machine), None)
    return Timing(
        seconds=facts.seconds,
        steps=facts.done,
        tokens_per_second=facts.tokens / seconds,
        supervised_tokens_per_second=facts.supervised_tokens / seconds,
        peak_memory_bytes=peak_memory_bytes(course.device),
        mfu=None if peak is None else 6 * record.parameters * facts.tokens / seconds / (peak * course.team.size),
        machine=machine,
        threads=torch.get_num_threads(),
        resumed=facts.resumed,
    )
