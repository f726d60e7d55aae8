"""What a finished training leaves: a Hugging Face folder with ``train.json`` and ``timing.json``."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import safetensors
import tokenizers
import torch
import transformers

from epigone import __version__
from epigone.disk import atomic_folder, write_json
from epigone.train.adapters import merge_adapters
from epigone.train.capacity import full_disk_named
from epigone.train.course import Course
from epigone.train.examples import Example, Examples
from epigone.train.machine import machine_name, peak_memory_bytes
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


@dataclass(frozen=True)
class Material:
    """What is trained on, and where it came from."""

    kind: str
    base: str
    base_revision: str | None
    base_digest: str
    teacher_digest: str | None
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
        base_revision=material.base_revision,
        base_digest=material.base_digest,
        teacher_digest=material.teacher_digest,
        model_type=model.config.model_type,
        parameters=course.parameters,
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


def save_student(course: Course, tokenizer: Any, record: TrainRecord, out: Path, *, ends: Sequence[int] = ()) -> None:
    """Make ``out``, whole or not at all; with several processes the first one writes.

    Float32 weights are put back, adapters merged, and all is turned into the number format of the base (or
    ``save_dtype``).

    Args:
        ends: tokens that closed the outputs it learnt: a generation must stop there, be they the end token or not.
    """
    model = course.objective.model
    course.weights.restore()
    saved = course.saved_dtype if course.spec.save_dtype == "auto" else getattr(torch, course.spec.save_dtype)
    state: dict[str, torch.Tensor] | None = None
    if course.team.size == 1 and course.spec.lora is None:
        model.to(saved)
    else:
        state = {}
        once = {name for name, _ in chain(model.named_parameters(), model.named_buffers())}
        for name, weight in model.state_dict().items():
            whole = gather(weight)
            if course.team.leads and name in once:  # a head that is tied to the embeddings has their name
                state[name] = whole.cpu()
        if not course.team.leads:
            return
        if course.spec.lora is not None:
            state = merge_adapters(model, state)
        state = {name: weight.to(saved) for name, weight in state.items()}
    model.config.dtype = saved
    stops = sorted({tokenizer.eos_token_id, *ends})
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stops if len(stops) > 1 else stops[0],
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
    )
    with atomic_folder(out) as folder, full_disk_named(out):
        model.save_pretrained(folder, state_dict=state)
        tokenizer.save_pretrained(folder)
        write_json(folder / "train.json", record)
        write_json(folder / "timing.json", _timing(course))


def _timing(course: Course) -> Timing:
    facts = course.facts
    seconds = max(facts.seconds, 1e-9)
    return Timing(
        seconds=facts.seconds,
        steps=facts.done,
        tokens_per_second=facts.tokens / seconds,
        supervised_tokens_per_second=facts.supervised_tokens / seconds,
        peak_memory_bytes=peak_memory_bytes(course.device),
        mfu=course.utilization(),
        machine=machine_name(course.device),
        threads=torch.get_num_threads(),
        resumed=facts.resumed,
    )
