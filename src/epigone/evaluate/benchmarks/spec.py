"""What a user writes to have a model measured on a benchmark."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from epigone.specs import Spec

__all__ = ["BenchmarkSpec"]


class BenchmarkSpec(Spec):
    """One benchmark task. Only ``task`` is needed; everything else overrides the task file."""

    task: str
    """A built-in task (``mmlu``, ``mmlu_generative``, ``nq``, ``gsm8k``, ``humaneval``, ``cnn_dailymail``, ``xsum``),
    the path of an lm-eval task file ending in ``.yaml``, or the name of any task or group of lm-eval. A task file may
    call Python functions: it is code, run only files that you trust."""

    name: str | None = None
    """Name in the results, the first part of the axis name. ``None``: the task file's own ``task``."""

    data: Path | dict[str, Path] | None = None
    """Local data instead of the hub's: a folder with one file a split (``test.jsonl``), a mapping split -> file, or one
    file, from which the few-shot examples are then drawn by seed and not scored. JSON lines (also ``.gz``), JSON
    arrays, CSV and Parquet. ``None``: where the task file says."""

    fields: dict[str, str] = {}
    """Renames columns of ``data``: the name that the task reads -> the name in the file."""

    items: int | None = Field(default=None, ge=1)
    """Score this many items, drawn by seed, in file order. ``None``: all."""

    shots: int | None = Field(default=None, ge=0)
    """Few-shot examples in the prompt. ``None``: as the task file says."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Longest generated answer, in the model's own tokens. ``None``: as the task file says."""

    samples: int | None = Field(default=None, ge=1)
    """Answers drawn for each item, for pass@k. ``None``: as the task file says (1)."""

    temperature: float | None = Field(default=None, ge=0.0)
    """Sampling temperature. ``None``: as the task file says (0, greedy)."""

    allow_unconfined: bool = False
    """``humaneval``: run programs also where the machine cannot shut them in. They may then do whatever you may."""

    exclude: tuple[Path, ...] = ()
    """Files (JSON lines with ``question``) whose questions must not be scored, such as the seeds of imitation data."""
