"""Imitation data in, a student out: chat format, packing, optimizers, loop, checkpoints."""

from epigone.train.plan import plan_training
from epigone.train.record import HeldoutLoss, StepLoss, Timing, TrainPlan, TrainRecord
from epigone.train.spec import ChatFormat, LoraSpec, OptimizerName, Precision, TrainSpec
from epigone.train.training import count_conversation_tokens, count_text_tokens, pretrain, train_student

__all__ = [
    "ChatFormat",
    "HeldoutLoss",
    "LoraSpec",
    "OptimizerName",
    "Precision",
    "StepLoss",
    "Timing",
    "TrainPlan",
    "TrainRecord",
    "TrainSpec",
    "count_conversation_tokens",
    "count_text_tokens",
    "plan_training",
    "pretrain",
    "train_student",
]
