"""Dynamic batching: one thread runs the model; whatever arrives while it writes joins the batch."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from typing import Any

from epigone.models.local.jobs import Job
from epigone.models.local.likelihood import Given, TokenLikelihood
from epigone.models.local.local_model import LocalModel

__all__ = ["Engine"]


class Engine:
    """Takes jobs from any number of coroutines and runs them together.

    Attributes:
        answered: jobs finished.
        prompt_tokens, completion_tokens: read and written so far.
    """

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.answered = self.prompt_tokens = self.completion_tokens = 0
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._given: queue.Queue[tuple[Given, asyncio.Future[list[TokenLikelihood]]]] = queue.Queue()
        self._futures: dict[int, asyncio.Future[Job]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="epigone-engine", daemon=True)
        self.running = 0

    def start(self) -> None:
        """Begin; called inside the server's event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs not begun."""
        return self._jobs.qsize() + self._given.qsize()

    async def write(self, job: Job) -> Job:
        """Run a job to its end; if the caller is cancelled, so is the job."""
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._futures[id(job)] = future
        self._jobs.put(job)
        try:
            return await future
        except asyncio.CancelledError:
            job.cancelled = True
            raise

    async def read(self, given: Given) -> list[TokenLikelihood]:
        """Log-probabilities of given tokens."""
        future: asyncio.Future[list[TokenLikelihood]] = asyncio.get_running_loop().create_future()
        self._given.put((given, future))
        self._jobs.put(None)  # wakes the thread
        return await future

    def _run(self) -> None:
        while True:
            first = self._jobs.get()
            jobs = [job for job in (first, *self._arrived()) if job is not None]
            try:
                if jobs:
                    self.running += len(jobs)
                    self.model.run(jobs, done=self._finished, more=self._late)
                self._read_all()
            except Exception as error:  # noqa: BLE001 - whatever it is, every waiting request must hear of it
                self._fail_all(error)

    def _arrived(self) -> list[Job | None]:
        found: list[Job | None] = []
        while True:
            try:
                found.append(self._jobs.get_nowait())
            except queue.Empty:
                return found

    def _late(self) -> Sequence[Job]:
        """Jobs that came while others were written; none while somebody waits for log-probabilities."""
        if not self._given.empty():
            return ()
        jobs = [job for job in self._arrived() if job is not None]
        self.running += len(jobs)
        return jobs

    def _read_all(self) -> None:
        waiting: list[tuple[Given, asyncio.Future[list[TokenLikelihood]]]] = []
        while not self._given.empty():
            waiting.append(self._given.get_nowait())
        if not waiting:
            return
        try:
            results = self.model.likelihoods([given for given, _ in waiting])
        except Exception as error:
            for _, future in waiting:
                self._tell(future, error)
            raise
        for (given, future), result in zip(waiting, results, strict=True):
            self.prompt_tokens += len(given.ids)
            self._tell(future, result)

    def _finished(self, job: Job) -> None:
        self.running -= 1
        self.answered += 1
        self.prompt_tokens += len(job.prompt)
        self.completion_tokens += job.written
        future = self._futures.pop(id(job), None)
        if future is not None:  # none is left when the engine failed before the job began
            self._tell(future, job)

    def _fail_all(self, error: Exception) -> None:
        self.running = 0
        for key in list(self._futures):
            self._tell(self._futures.pop(key), error)

    def _tell(self, future: asyncio.Future[Any], result: object) -> None:
        """Give a result or an error to the coroutine that waits for it."""
        assert self._loop is not None

        def tell() -> None:
            if future.done():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        self._loop.call_soon_threadsafe(tell)
