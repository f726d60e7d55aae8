"""The loop: blocks in, updates out; logs, measures held-out loss, saves, stops when the loss is lost."""

from __future__ import annotations

import math
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import msgspec
import torch
from torch import Tensor

from epigone.errors import TrainingError
from epigone.train.batches import Batch, Order, assemble
from epigone.train.checkpoint import Checkpoints
from epigone.train.examples import Example
from epigone.train.objective import Objective
from epigone.train.packing import Block
from epigone.train.record import HeldoutLoss, StepLoss
from epigone.train.schedule import learning_rate
from epigone.train.spec import TrainSpec
from epigone.train.weights import Weights

__all__ = ["Course", "Progress", "Tracker", "run_course"]

Progress = Callable[[int, int | None], None]
Tracker = Callable[[int, dict[str, float]], None]

_EXPLODED = 4.0
"""A loss above this many times that of a uniform guess is an explosion."""
_SETTLED = 20


@dataclass
class Course:
    """One training under way: what it is made of, and how far it has come."""

    spec: TrainSpec
    objective: Objective
    weights: Weights
    optimizer: torch.optim.Optimizer
    order: Order
    blocks: Sequence[Block]
    examples: Sequence[Example]
    heldout: Mapping[str, tuple[Sequence[Block], Sequence[Example]]]
    device: torch.device
    micro_batch_blocks: int
    done: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    replay_tokens: int = 0
    seconds: float = 0.0
    resumed: int = 0
    losses: list[StepLoss] = field(default_factory=list)
    heldout_losses: list[HeldoutLoss] = field(default_factory=list)
    pending: list[float] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "weights": self.weights.state(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "counts": [self.done, self.tokens, self.supervised_tokens, self.replay_tokens, self.resumed],
            "seconds": self.seconds,
            "pending": self.pending,
            "losses": msgspec.json.encode(self.losses).decode(),
            "heldout": msgspec.json.encode(self.heldout_losses).decode(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.weights.load_state(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self.done, self.tokens, self.supervised_tokens, self.replay_tokens, self.resumed = state["counts"]
        self.resumed += 1
        self.seconds = state["seconds"]
        self.pending = list(state["pending"])
        self.losses = msgspec.json.decode(state["losses"], type=list[StepLoss])
        self.heldout_losses = msgspec.json.decode(state["heldout"], type=list[HeldoutLoss])


def run_course(
    course: Course,
    *,
    checkpoints: Checkpoints | None,
    trackers: Sequence[Tracker] = (),
    progress: Progress | None = None,
) -> None:
    """Take every step that is left.

    Raises:
        TrainingError: the loss is not a number, or has exploded.
        SystemExit: SIGTERM came; the step under way was finished and saved (exit code 143).
    """
    spec, steps = course.spec, course.order.steps
    saved_at = time.monotonic()
    if course.done == 0:
        _measure_heldout(course)
    with _termination() as terminated:
        while course.done < steps:
            started = time.perf_counter()
            logged = _take_step(course)
            course.seconds += time.perf_counter() - started
            if logged:
                for tracker in trackers:
                    tracker(course.done, _watched(course))
            if course.done == steps:
                _measure_heldout(course)
            if progress is not None:
                progress(course.done, steps)
            if checkpoints is not None and course.done < steps:
                minutes = (time.monotonic() - saved_at) / 60
                due = spec.checkpoint_every_steps is not None and course.done % spec.checkpoint_every_steps == 0
                due = due or (spec.checkpoint_every_minutes is not None and minutes >= spec.checkpoint_every_minutes)
                if due or terminated.is_set():
                    checkpoints.save(course.done, course.state())
                    saved_at = time.monotonic()
            if terminated.is_set():
                sys.exit(128 + signal.SIGTERM)


def _take_step(course: Course) -> bool:
    """One optimizer step; whether an entry was added to the curve."""
    spec, steps = course.spec, course.order.steps
    batches = _micro_batches(course, course.done)
    loss = torch.zeros((), device=course.device)
    for batch in batches:
        part = course.objective(batch)
        part.backward()
        course.weights.collect_gradients()
        loss += part.detach()
    norm = course.weights.clip(spec.clip_norm)
    _check(float(loss), float(norm), course, batches)
    rate = learning_rate(spec, course.done, steps)
    for group in course.optimizer.param_groups:
        group["lr"] = rate
    course.optimizer.step()
    course.weights.publish()
    course.done += 1
    course.tokens += sum(batch.tokens for batch in batches)
    course.supervised_tokens += sum(batch.supervised_tokens for batch in batches)
    course.replay_tokens += sum(batch.replay_tokens for batch in batches)
    course.pending.append(float(loss))
    if course.done % spec.log_every and course.done not in (1, steps):
        return False
    course.losses.append(
        StepLoss(
            step=course.done,
            tokens=course.tokens,
            loss=math.fsum(course.pending) / len(course.pending),
            learning_rate=rate,
            gradient_norm=float(norm),
        )
    )
    course.pending = []
    return True


def _micro_batches(course: Course, step: int) -> list[Batch]:
    """The step's blocks in parts that are computed one after another; the weights of all of them sum to 1."""
    indexes = course.order.step(step)
    size = course.micro_batch_blocks
    batches = [
        assemble([course.blocks[index] for index in indexes[start : start + size]], course.examples)
        for start in range(0, len(indexes), size)
    ]
    return [_on_device(batch, course.device) for batch in weigh(batches, course.spec.objective)]


def weigh(batches: Sequence[Batch], objective: str) -> list[Batch]:
    """Turn counts into weights that sum to 1 over ``batches``: each target alike, or each block with targets alike."""
    if objective == "tokens":
        total = sum(batch.supervised_tokens for batch in batches)
        return [msgspec.structs.replace(batch, weights=batch.weights / max(1, total)) for batch in batches]
    rows = sum(int((batch.weights.sum(1) > 0).sum()) for batch in batches)
    return [
        msgspec.structs.replace(
            batch, weights=batch.weights / batch.weights.sum(1, keepdim=True).clamp_min(1) / max(1, rows)
        )
        for batch in batches
    ]


def _on_device(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch

    def move(tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(device, non_blocking=True)

    return msgspec.structs.replace(
        batch,
        input_ids=move(batch.input_ids),
        position_ids=move(batch.position_ids),
        targets=move(batch.targets),
        weights=move(batch.weights),
    )


def _check(loss: float, norm: float, course: Course, batches: Sequence[Batch]) -> None:
    uniform = math.log(course.objective.model.config.get_text_config().vocab_size)
    exploded = loss > _EXPLODED * uniform and course.done >= _SETTLED
    if math.isfinite(loss) and math.isfinite(norm) and not exploded:
        return
    records = list(dict.fromkeys(identity for batch in batches for identity in batch.record_ids))
    shown = ", ".join(records[:20]) + (f" and {len(records) - 20} more" if len(records) > 20 else "")
    raise TrainingError(
        f"the loss is {loss:.4g} and the gradient norm {norm:.4g}; records of this step: {shown}",
        where=f"step {course.done + 1}",
        fix="lower peak_lr or lengthen the warm-up; if it stops at the same step again, look at these records",
    )


def _measure_heldout(course: Course) -> None:
    course.objective.eval()
    size = course.micro_batch_blocks
    for source, (blocks, examples) in sorted(course.heldout.items()):
        total, count = 0.0, 0
        for start in range(0, len(blocks), size):
            batch = _on_device(assemble(blocks[start : start + size], examples), course.device)
            with torch.no_grad():
                total += float(course.objective(batch))
            count += batch.supervised_tokens
        course.heldout_losses.append(
            HeldoutLoss(step=course.done, source=source, loss=total / max(1, count), supervised_tokens=count)
        )
    course.objective.train()


def _watched(course: Course) -> dict[str, float]:
    """What a tracker is shown at a step."""
    last = course.losses[-1]
    return {
        "loss": last.loss,
        "learning_rate": last.learning_rate,
        "gradient_norm": last.gradient_norm,
        "tokens": float(course.tokens),
        "tokens_per_second": course.tokens / max(course.seconds, 1e-9),
        "memory_gib": peak_memory_bytes(course.device) / 2**30,
    }


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory held so far: by torch on the device, or by the process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def _termination() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, while inside; only in the main thread can signals be received."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def receive(_: int, __: FrameType | None) -> None:
        event.set()

    before = signal.signal(signal.SIGTERM, receive)
    try:
        yield event
    finally:
        signal.signal(signal.SIGTERM, before)
