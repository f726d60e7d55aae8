"""The loop: blocks in, updates out; logs, measures held-out loss, saves, stops when the loss is lost."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import torch
import torch.distributed as dist
from msgspec.structs import replace
from torch import Tensor

from epigone.errors import TrainingError
from epigone.train.batches import Batch, assemble, count_targets, in_one_row
from epigone.train.checkpoint import Checkpoints
from epigone.train.course import Course
from epigone.train.machine import peak_memory_bytes
from epigone.train.parallel import Team, total
from epigone.train.record import HeldoutLoss, StepLoss
from epigone.train.schedule import learning_rate
from epigone.train.trackers import Tracker

__all__ = ["Progress", "run_course", "take_step"]

Progress = Callable[[int, int | None], None]

_EXPLODED = 4.0
"""A loss above this many times that of a uniform guess is an explosion."""
_SETTLED = 20


def run_course(
    course: Course,
    *,
    checkpoints: Checkpoints | None,
    trackers: Sequence[Tracker] = (),
    progress: Progress | None = None,
) -> None:
    """Take every step that is left.

    Raises:
        TrainingError: the loss is not a number, or has exploded; the memory is used up.
        SystemExit: SIGTERM came; the step under way was finished and saved (exit code 143).
    """
    steps = course.order.steps

    def show(values: Mapping[str, float]) -> None:
        for tracker in trackers:
            tracker(course.facts.done, values)

    saved_at = time.monotonic()
    with _termination() as terminated, _memory_named(course):
        if course.facts.done == 0:
            show(_measure_heldout(course))
        while course.facts.done < steps:
            if take_step(course):
                show(_watched(course))
            if _heldout_is_due(course):
                show(_measure_heldout(course))
            if progress is not None:
                progress(course.facts.done, steps)
            stop = _agreed(terminated.is_set(), course)
            if checkpoints is not None and course.facts.done < steps and _save_is_due(course, saved_at, stop):
                checkpoints.save(course.facts_to_save(), course.save_state)
                saved_at = time.monotonic()
            if stop and course.facts.done < steps:
                sys.exit(128 + signal.SIGTERM)


def _heldout_is_due(course: Course) -> bool:
    every, done = course.spec.heldout_every_steps, course.facts.done
    return done == course.order.steps or (every is not None and done % every == 0)


def _save_is_due(course: Course, saved_at: float, stop: bool) -> bool:
    spec = course.spec
    minutes = (time.monotonic() - saved_at) / 60
    by_steps = spec.checkpoint_every_steps is not None and course.facts.done % spec.checkpoint_every_steps == 0
    by_clock = spec.checkpoint_every_minutes is not None and minutes >= spec.checkpoint_every_minutes
    return by_steps or stop or _agreed(by_clock, course)


def _agreed(here: bool, course: Course) -> bool:
    """Whether any process of the team says so: all must save and stop after the same step."""
    if course.team.mesh is None:
        return here
    said = torch.tensor(float(here), device=course.device)
    dist.all_reduce(said)
    return bool(said > 0)


def take_step(course: Course) -> bool:
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
        supervised_tokens=course.facts.supervised_tokens,
    )
    course.facts = replace(course.facts, losses=(*course.facts.losses, entry), pending=())
    return True


def _micro_batches(course: Course, indexes: Sequence[int]) -> list[Batch]:
    """This process's part of a step's blocks, in portions that are computed one after another."""
    shares = _row_shares(course, indexes)
    batches: list[Batch] = []
    for mine, counts in _portions(len(indexes), course.micro_batch_blocks, course.team):
        batch = assemble([course.blocks[indexes[position]] for position in mine], course.examples)
        weights = [shares[position] if counts else 0.0 for position in mine]
        batch = replace(batch, weights=batch.weights * torch.tensor(weights, dtype=torch.float32)[:, None])
        if course.objective.takes_one_row(batch):
            batch = in_one_row(batch, [course.blocks[indexes[position]].tokens for position in mine])
        batches.append(_on_device(batch, course.device))
    return batches


def _portions(count: int, size: int, team: Team) -> Iterator[tuple[list[int], bool]]:
    """Which of ``count`` blocks this process computes together, time after time, and whether they count.

    Every process gets as many portions; one that would be empty repeats the first block, which does not count then.
    """
    for start in range(0, count, size * team.data_size):
        mine = list(range(start + team.data_rank, min(count, start + size * team.data_size), team.data_size))
        yield (mine, True) if mine else ([0], False)


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


def _measure_heldout(course: Course) -> dict[str, float]:
    """Add the held-out loss of each source to the facts; gives it by the name that trackers show."""
    course.objective.eval()
    shown: dict[str, float] = {}
    for source, (blocks, examples) in sorted(course.heldout.items()):
        summed = 0.0
        for mine, counts in _portions(len(blocks), course.micro_batch_blocks, course.team):
            batch = _on_device(assemble([blocks[position] for position in mine], examples), course.device)
            with torch.no_grad():
                loss = float(course.objective(batch))
            summed += loss if counts else 0.0
        count = sum(count_targets(block, examples) for block in blocks)
        mean = float(total(torch.tensor(summed, dtype=torch.float64, device=course.device), course.team))
        mean /= max(1, count)
        entry = HeldoutLoss(step=course.facts.done, source=source, loss=mean, supervised_tokens=count)
        course.facts = replace(course.facts, heldout=(*course.facts.heldout, entry))
        shown[f"heldout/{source}"] = mean
    course.objective.train()
    return shown


def _watched(course: Course) -> dict[str, float]:
    """What a tracker is shown at a step."""
    facts, last, utilization = course.facts, course.facts.losses[-1], course.utilization()
    return {
        "loss": last.loss,
        "learning_rate": last.learning_rate,
        "gradient_norm": last.gradient_norm,
        "tokens": float(facts.tokens),
        "tokens_per_second": facts.tokens / max(facts.seconds, 1e-9),
        "memory_gib": peak_memory_bytes(course.device) / 2**30,
    } | ({} if utilization is None else {"mfu": utilization})


@contextmanager
def _memory_named(course: Course) -> Iterator[None]:
    """Say what can be changed when torch finds no memory for a step."""
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
        refused = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
        if not refused:
            raise
        rows = course.micro_batch_blocks
        smaller = f"micro_batch_blocks below {rows}, " if rows > 1 else "a smaller block_tokens, "
        raise TrainingError(
            f"out of memory with {rows} blocks of {course.spec.block_tokens} tokens at once",
            where=f"step {course.facts.done + 1} on {course.device}",
            fix=f"set {smaller}gradient_checkpointing: true or lora, or start it on more devices; "
            "with a work folder it goes on from the last checkpoint",
        ) from error


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
