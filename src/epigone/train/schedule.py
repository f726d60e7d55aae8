"""The learning rate as a function of the step."""

from __future__ import annotations

import math

from epigone.train.spec import TrainSpec

__all__ = ["WARMUP_SHARE_LIMIT", "learning_rate", "warmup_steps", "warmup_warning"]

WARMUP_SHARE_LIMIT = 0.3


def warmup_steps(spec: TrainSpec, steps: int) -> int:
    """Steps of the linear rise in a training of ``steps`` steps."""
    if spec.warmup_steps is not None:
        return spec.warmup_steps
    return round(spec.warmup_share * steps)


def learning_rate(spec: TrainSpec, step: int, steps: int) -> float:
    """Rate of step ``step`` (the first is 0) of ``steps``.

    The rise is linear: step i of w has (i + 1) / w of the peak, so that the last of the rise has all of it and no step
    is spent at a rate of 0. Afterwards the rate stays, or falls to ``final_lr_share`` of the peak at the last step.
    """
    rise = warmup_steps(spec, steps)
    if step < rise:
        return spec.peak_lr * (step + 1) / rise
    if spec.schedule == "constant":
        return spec.peak_lr
    fallen = (step - rise + 1) / max(1, steps - rise)
    left = 1 - fallen if spec.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * fallen))
    return spec.peak_lr * (spec.final_lr_share + (1 - spec.final_lr_share) * left)


def warmup_warning(spec: TrainSpec, steps: int) -> str | None:
    """Why the rise is too long for this training, or ``None``."""
    rise = warmup_steps(spec, steps)
    if rise <= WARMUP_SHARE_LIMIT * steps:
        return None
    reached = spec.peak_lr * min(1.0, steps / rise)
    return (
        f"warm-up takes {rise} of {steps} steps ({rise / steps:.0%}); the largest rate reached is {reached:.2g} of "
        f"{spec.peak_lr:.2g}: the amount of data is confounded with the learning rate"
    )
