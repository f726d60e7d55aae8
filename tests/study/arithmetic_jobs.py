"""Job functions small enough to check by hand; the real store, schedule and worker pool run them."""

from __future__ import annotations

import os
import time

from epigone.disk import append_jsonl, read_json, write_json
from epigone.errors import DataError, TrainingError
from epigone.study import JobContext


def constant(context: JobContext) -> None:
    """Write the parameter ``value``."""
    _count(context)
    write_json(context.folder / "value.json", context.job.params["value"])


def total(context: JobContext) -> None:
    """Write the sum of all inputs."""
    _count(context)
    time.sleep(float(str(context.job.params.get("seconds", 0))))
    values = [read_json(folder / "value.json", int) for folder in context.inputs.values()]
    write_json(context.folder / "value.json", sum(values))


def in_two_parts(context: JobContext) -> None:
    """Leave half the work behind at the first call, as a killed process would, and finish it at the second."""
    _count(context)
    half = context.work / "half.json"
    if not half.is_file():
        write_json(half, 21)
        (context.folder / "torn.json").write_text('{"torn')
        os._exit(9)
    write_json(context.folder / "value.json", 2 * read_json(half, int))


def wrong_data(context: JobContext) -> None:
    """Fail as a room would."""
    raise DataError("is empty", where="data.jsonl", fix="give some data")


def diverging(context: JobContext) -> None:
    """Fail as a training would."""
    raise TrainingError("the loss is not a number")


def defect(context: JobContext) -> None:
    """Fail as nobody foresaw."""
    raise KeyError("unforeseen")


def _count(context: JobContext) -> None:
    """One line an execution, so that tests can count them."""
    append_jsonl(context.cache.parent / "executions.jsonl", context.job.title)
