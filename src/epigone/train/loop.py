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
from pathlib import Path
from types import FrameType

import torch
import torch.distributed as dist
from msgspec.structs import replace
from torch import Tensor

from epigone.errors import TrainingError
from epigone.train.batches import Batch, Order, assemble, count_targets
from epigone.train.checkpoint import Checkpoints
from epigone.train.examples import Example
from epigone.train.objective import Objective
from epigone.train.packing import Block
from epigone.train.parallel import Team, load_shards, save_shards, total
from epigone.train.record import CourseFacts, HeldoutLoss, StepLoss
from epigone.train.schedule import learning_rate
from epigone.train.spec import TrainSpec
from epigone.train.trackers import Tracker
from epigone.train.weights import Weights

__all__ = ["Course", "Progress", "peak_memory_bytes", "run_course"]

Progress = Callable[[int, int | None], None]
_STATE = "state.pt"

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
    dtype: torch.dtype
    saved_dtype: torch.dtype
    micro_batch_blocks: int
    team: Team = field(default_factory=Team)
    facts: CourseFacts = field(default_factory=CourseFacts)
    block_targets: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.block_targets = [count_targets(block, self.examples) for block in self.blocks]

    def save_state(self, folder: Path) -> None:
        """Write weights and optimizer state into ``folder``."""
        if self.team.size > 1:
            save_shards(folder, self.objective, self.optimizer)
        else:
            torch.save({"weights": self.weights.state(), "optimizer": self.optimizer.state_dict()}, folder / _STATE)

    def load_state(self, facts: CourseFacts, folder: Path) -> None:
        """Go on from a checkpoint."""
        if self.team.size > 1:
            load_shards(folder, self.objective, self.optimizer)
        else:
            state = torch.load(folder / _STATE, weights_only=True, map_location=self.device)
            self.weights.load_state(state["weights"])
            self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(torch.frombuffer(bytearray(facts.random), dtype=torch.uint8))
        self.facts = replace(facts, resumed=facts.resumed + 1)

    def facts_to_save(self) -> CourseFacts:
        """The facts, with the state of the random generator as it is now."""
        return replace(self.facts, random=torch.get_rng_state().numpy().tobytes())


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
    if course.facts.done == 0:
        _measure_heldout(course)
    with _termination() as terminated:
        while course.facts.done < steps:
            if _take_step(course):
                for tracker in trackers:
                    tracker(course.facts.done, _watched(course))
            if course.facts.done == steps:
                _measure_heldout(course)
            if progress is not None:
                progress(course.facts.done, steps)
            stop = _agreed(terminated.is_set(), course)
            if checkpoints is not None and course.facts.done < steps:
                minutes = (time.monotonic() - saved_at) / 60
                due = spec.checkpoint_every_steps is not None and course.facts.done % spec.checkpoint_every_steps == 0
                by_clock = spec.checkpoint_every_minutes is not None and minutes >= spec.checkpoint_every_minutes
                if due or stop or _agreed(by_clock, course):
                    checkpoints.save(course.facts_to_save(), course.save_state)
                    saved_at = time.monotonic()
            if stop and course.facts.done < steps:
                sys.exit(128 + signal.SIGTERM)


def _agreed(here: bool, course: Course) -> bool:
    """Whether any process of the team says so: all must save and stop after the same step."""
    if course.team.mesh is None:
        return here
    said = torch.tensor(float(here), device=course.device)
    dist.all_reduce(said)
    return bool(said > 0)


def _take_step(course: Course) -> bool:
    """One optimizer step; whether an entry was added to the curve."""
    started = time.perf_counter()
    spec, steps, before = course.spec, course.order.steps, course.facts
    indexes = course.order.step(before.done)
    batches = _micro_batches(course, indexes)
    loss = torch.zeros((), device=course.device)
    for batch in batches:
        part = course.objective(batch)
        (part * course.team.data_size).backward()  # FSDP2 averages over processes; the weights already sum to 1
        course.weights.collect_gradients()
        loss += part.detach()
    mean = float(total(loss, course.team))
    norm = float(course.weights.clip(spec.clip_norm))
    _check(mean, norm, course, indexes)
    rate = learning_rate(spec, before.done, steps)
    for group in course.optimizer.param_groups:
        group["lr"] = rate
    course.optimizer.step()
    course.weights.publish()
    pieces = [(piece, course.examples[piece.example]) for index in indexes for piece in course.blocks[index].pieces]
    course.facts = replace(
        before,
        done=before.done + 1,
        tokens=before.tokens + sum(piece.end - piece.start for piece, _ in pieces),
        supervised_tokens=before.supervised_tokens + sum(course.block_targets[index] for index in indexes),
        replay_tokens=before.replay_tokens + sum(piece.end - piece.start for piece, of in pieces if of.replay),
        pending=(*before.pending, mean),
        seconds=before.seconds + time.perf_counter() - started,
    )
    if course.facts.done % spec.log_every and course.facts.done not in (1, steps):
        return False
    pending = course.facts.pending
    entry = StepLoss(
        step=course.facts.done,
        tokens=course.facts.tokens,
        loss=math.fsum(pending) / len(pending),
        learning_rate=rate,
        gradient_norm=norm,
    )
    course.facts = replace(course.facts, losses=(*course.facts.losses, entry), pending=())
    return True


def _micro_batches(course: Course, indexes: Sequence[int]) -> list[Batch]:
    """This process's part of a step's blocks, in portions that are computed one after another.

    Every process gets as many portions; one that would be empty repeats a block with weight 0.
    """
    size, team = course.micro_batch_blocks, course.team
    shares = _row_shares(course, indexes)
    batches: list[Batch] = []
    for start in range(0, len(indexes), size * team.data_size):
        portion = slice(start + team.data_rank, start + size * team.data_size, team.data_size)
        mine, weights = indexes[portion], shares[portion]
        if not mine:
            mine, weights = [indexes[0]], [0.0]
        batch = assemble([course.blocks[index] for index in mine], course.examples)
        scaled = batch.weights * torch.tensor(weights, dtype=torch.float32)[:, None]
        batches.append(_on_device(replace(batch, weights=scaled), course.device))
    return batches


def _row_shares(course: Course, indexes: Sequence[int]) -> list[float]:
    """What each target of each block weighs: all targets of the step alike, or each block with targets alike."""
    counts = [course.block_targets[index] for index in indexes]
    if course.spec.objective == "tokens":
        return [1 / max(1, sum(counts))] * len(counts)
    rows = sum(count > 0 for count in counts)
    return [1 / (rows * count) if count else 0.0 for count in counts]


def _on_device(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch

    def move(tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(device, non_blocking=True)

    return replace(
        batch,
        input_ids=move(batch.input_ids),
        position_ids=move(batch.position_ids),
        targets=move(batch.targets),
        weights=move(batch.weights),
    )


def _check(loss: float, norm: float, course: Course, indexes: Sequence[int]) -> None:
    uniform = math.log(course.objective.model.config.get_text_config().vocab_size)
    exploded = loss > _EXPLODED * uniform and course.facts.done >= _SETTLED
    if math.isfinite(loss) and math.isfinite(norm) and not exploded:
        return
    pieces = [piece for index in indexes for piece in course.blocks[index].pieces]
    records = list(dict.fromkeys(course.examples[piece.example].id for piece in pieces))
    shown = ", ".join(records[:20]) + (f" and {len(records) - 20} more" if len(records) > 20 else "")
    raise TrainingError(
        f"the loss is {loss:.4g} and the gradient norm {norm:.4g}; records of this step: {shown}",
        where=f"step {course.facts.done + 1}",
        fix="lower peak_lr or lengthen the warm-up; if it stops at the same step again, look at these records",
    )


def _measure_heldout(course: Course) -> None:
    course.objective.eval()
    size = course.micro_batch_blocks
    for source, (blocks, examples) in sorted(course.heldout.items()):
        summed, count = 0.0, 0
        for start in range(0, len(blocks), size):
            batch = _on_device(assemble(blocks[start : start + size], examples), course.device)
            with torch.no_grad():
                summed += float(course.objective(batch))
            count += batch.supervised_tokens
        mean = summed / max(1, count)
        entry = HeldoutLoss(step=course.facts.done, source=source, loss=mean, supervised_tokens=count)
        course.facts = replace(course.facts, heldout=(*course.facts.heldout, entry))
    course.objective.train()


def _watched(course: Course) -> dict[str, float]:
    """What a tracker is shown at a step."""
    facts, last = course.facts, course.facts.losses[-1]
    return {
        "loss": last.loss,
        "learning_rate": last.learning_rate,
        "gradient_norm": last.gradient_norm,
        "tokens": float(facts.tokens),
        "tokens_per_second": facts.tokens / max(facts.seconds, 1e-9),
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
