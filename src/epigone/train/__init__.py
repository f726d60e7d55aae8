"""Imitation data in, a student out: chat format, packing, optimizers, loop, checkpoints.

A recipe can be read without torch: what needs it is loaded when it is first named.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from epigone.train.record import HeldoutLoss, StepLoss, Timing, TrainPlan, TrainRecord
from epigone.train.spec import ChatFormat, DistilSpec, LoraSpec, OptimizerName, Precision, TrainSpec

if TYPE_CHECKING:
    from epigone.train.counting import TokenCounts
    from epigone.train.plan import plan_student, plan_training
    from epigone.train.training import (
        count_conversation_tokens,
        count_text_tokens,
        pretrain,
        show_tokens,
        train_student,
    )

__all__ = [
    "ChatFormat",
    "DistilSpec",
    "HeldoutLoss",
    "LoraSpec",
    "OptimizerName",
    "Precision",
    "StepLoss",
    "Timing",
    "TokenCounts",
    "TrainPlan",
    "TrainRecord",
    "TrainSpec",
    "count_conversation_tokens",
    "count_text_tokens",
    "plan_student",
    "plan_training",
    "pretrain",
    "show_tokens",
    "train_student",
]

_NEEDS_TORCH = {
    "TokenCounts": "counting",
    "plan_student": "plan",
    "plan_training": "plan",
    "count_conversation_tokens": "training",
    "count_text_tokens": "training",
    "pretrain": "training",
    "show_tokens": "training",
    "train_student": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
