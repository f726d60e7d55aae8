"""Where the curves go while a training runs: TensorBoard, Weights & Biases, trackio, behind one seam."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from epigone.errors import MissingDependency
from epigone.train.spec import TrackerName, TrainSpec

__all__ = ["Tracker", "open_trackers"]


class Tracker(Protocol):
    """Takes the numbers of a step."""

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        """Show ``values`` (name -> number) at ``step``."""


@contextmanager
def open_trackers(spec: TrainSpec, folder: Path | None, name: str, *, done: int = 0) -> Iterator[list[Tracker]]:
    """The trackers that ``spec`` names, closed at the end. TensorBoard writes below ``folder``.

    Args:
        done: steps taken before, in a training that goes on: TensorBoard forgets what it was shown after them.

    Raises:
        MissingDependency: a tracker's package is not installed.
    """
    with ExitStack() as stack:
        opened: list[Tracker] = []
        for tracker in spec.trackers:
            if tracker == "tensorboard":
                if folder is not None:
                    opened.append(stack.enter_context(_tensorboard(folder / "tensorboard", done)))
            else:
                opened.append(stack.enter_context(_runs(tracker, spec, name)))
        yield opened


@contextmanager
def _tensorboard(folder: Path, done: int) -> Iterator[Tracker]:
    package = _load("torch.utils.tensorboard", "tensorboard")
    writer = package.SummaryWriter(log_dir=str(folder), purge_step=done + 1 if done else None)

    def show(step: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)

    try:
        yield show
    finally:
        writer.close()


@contextmanager
def _runs(tracker: TrackerName, spec: TrainSpec, name: str) -> Iterator[Tracker]:
    """W&B, and trackio, which has the same interface."""
    package = _load(tracker, tracker)
    package.init(project="epigone", name=name, config=spec.model_dump(mode="json"))

    def show(step: int, values: Mapping[str, float]) -> None:
        package.log(dict(values), step=step)

    try:
        yield show
    finally:
        package.finish()


def _load(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(
            f"the tracker {package} is not installed", fix=f"pip install {package}, or leave it out of trackers"
        ) from error
