"""What a training leaves behind: facts, the same in every run (``train.json``), and times (``timing.json``)."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["CourseFacts", "HeldoutLoss", "StepLoss", "Timing", "TrainPlan", "TrainRecord"]


class StepLoss(Struct, frozen=True, kw_only=True):
    """The curve at one step: ``loss`` in nats a supervised token, averaged since the entry before.

    ``tokens`` and ``supervised_tokens`` are those seen and learnt so far. With a distillation the divergence is part of
    the loss.
    """

    step: int
    tokens: int
    loss: float
    learning_rate: float
    gradient_norm: float
    supervised_tokens: int = 0


class HeldoutLoss(Struct, frozen=True, kw_only=True):
    """Held-out loss of one source at one step, nats a supervised token."""

    step: int
    source: str
    loss: float
    supervised_tokens: int


class CourseFacts(Struct, frozen=True, kw_only=True):
    """How far a training has come: what a checkpoint holds besides tensors.

    ``pending``: losses of the steps since the curve's last entry. ``random``: state of the device's generator.
    """

    done: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    replay_tokens: int = 0
    seconds: float = 0.0
    resumed: int = 0
    pending: tuple[float, ...] = ()
    losses: tuple[StepLoss, ...] = ()
    heldout: tuple[HeldoutLoss, ...] = ()
    random: bytes = b""


class TrainRecord(Struct, frozen=True, kw_only=True):
    """``train.json``: everything that reproduces a training, and nothing that differs between two equal runs.

    ``tokens`` were seen in training (padding not counted), ``supervised_tokens`` were learnt, ``replay_tokens`` came
    from replay text. ``fill_rate``: share of the blocks' positions that hold a token. ``spec`` is the recipe as given.
    ``base`` is a folder's name or a hub id, ``base_revision`` the hub's commit of it.
    ``data_digest`` covers the tokenized examples in order; ``base_digest`` the base's files, or the configuration;
    ``teacher_digest`` those of the teacher whose logits were learnt.
    """

    format: int
    kind: str
    base: str
    base_digest: str
    model_type: str
    parameters: int
    trained_parameters: int
    vocabulary: int
    new_tokens: tuple[str, ...]
    seed: int
    spec: dict[str, object]
    optimizer: str
    precision: str
    device: str
    processes: int
    conversations: int
    texts: int
    left_out: dict[str, int]
    left_out_ids: tuple[str, ...]
    data_digest: str
    blocks: int
    fill_rate: float
    steps: int
    warmup_steps: int
    tokens: int
    supervised_tokens: int
    replay_tokens: int
    final_loss: float
    losses: tuple[StepLoss, ...]
    heldout: tuple[HeldoutLoss, ...]
    warnings: tuple[str, ...]
    versions: dict[str, str]
    teacher_digest: str | None = None
    base_revision: str | None = None


class Timing(Struct, frozen=True, kw_only=True):
    """``timing.json``: how long it took, where. ``seconds`` is the time in steps, over all runs of a resumed training.

    ``mfu``: model FLOPs a second over the device's peak (Chowdhery et al. 2022, appendix B); ``None`` where the peak of
    the device is not known. ``peak_memory_bytes`` is of the device, or of the process on a CPU.
    """

    seconds: float
    steps: int
    tokens_per_second: float
    supervised_tokens_per_second: float
    peak_memory_bytes: int
    mfu: float | None
    machine: str
    threads: int
    resumed: int


class TrainPlan(Struct, frozen=True, kw_only=True):
    """What a training will take, from the configuration alone. Bytes are estimates for one device.

    ``memory_bytes`` maps a number of devices to the bytes on each (weights, gradients and optimizer state sharded).
    ``blocks``, ``fill_rate``: of the data as it would be packed; ``None`` where only its amount was known.
    """

    model_type: str
    parameters: int
    tokens: int
    steps: int
    warmup_steps: int
    warmup_share: float
    tokens_per_step: int
    memory_bytes: dict[int, int]
    warnings: tuple[str, ...]
    blocks: int | None = None
    fill_rate: float | None = None
