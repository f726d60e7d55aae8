"""What the scheduler needs of a place where jobs run."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from epigone.study.execute import JobCall

__all__ = ["Executor"]


class Executor(Protocol):
    """Runs job calls, at most ``slots`` at a time."""

    slots: int

    def submit(self, call: JobCall) -> Future[float]:
        """Start a job; the future gives its seconds or raises what the job raised."""
        ...

    def progress(self) -> list[tuple[str, int, int | None]]:
        """(job id, done, total) reported since the last call; empty where the executor cannot tell."""
        ...

    def stop(self) -> None:
        """End what runs at once; the jobs resume when they are started again."""
        ...

    def close(self) -> None:
        """Wait for what runs and release the workers."""
        ...
