"""Runs a plan: what is finished stays, what is ready starts, long chains first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Literal, Protocol

from msgspec import Struct

from epigone.disk import append_jsonl
from epigone.errors import EpigoneError, JobFailed, TrainingError
from epigone.study.execute import JobCall
from epigone.study.executors.executor import Executor
from epigone.study.job import Job, TeacherAccess
from epigone.study.store import Store

__all__ = ["Event", "Listener", "Schedule"]


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened to a job. ``seconds`` since the run began (wall clock, for people only)."""

    kind: Literal["planned", "kept", "started", "progress", "finished", "failed"]
    job: str
    stage: str
    title: str
    seconds: float = 0.0
    done: int = 0
    total: int | None = None
    took: float | None = None
    error: str | None = None


Listener = Callable[[Event], None]


class TeacherSource(Protocol):
    """Gives the teacher's endpoint, and can be told that it is needed no more."""

    def access(self) -> TeacherAccess:
        """Where to ask now."""
        ...

    def stop(self) -> None:
        """Free what it holds; :meth:`access` may start it again."""
        ...


class Schedule:
    """Brings every job of ``jobs`` to its manifest.

    A failed training leaves the jobs that do not need it running and is raised at the end; any other failure
    (disk, endpoint, budget, a defect) lets running jobs finish, starts no more, and is raised.

    Args:
        teacher: asked for its endpoint when a job needs it, so that a finished run starts no server, and told to stop
            when no unfinished job needs it any more.
        teacher_slots: how many teacher-asking jobs may run at once (1 for a teacher on this machine's own cores).
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        store: Store,
        executor: Executor,
        *,
        threads: int = 1,
        teacher: TeacherSource | None = None,
        teacher_slots: int | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.store, self.executor, self.threads = store, executor, threads
        self.teacher, self.teacher_slots = teacher, teacher_slots
        self.listener = listener
        self._begun = time.perf_counter()
        self._running: dict[Future[float], Job] = {}
        self._failures: list[tuple[Job, EpigoneError]] = []
        self._urgency = _remaining_cost(list(self.jobs.values()))

    def run(self) -> None:
        """Run until every job is finished.

        Raises:
            EpigoneError: the first failure, with the job's title; finished work is kept.
        KeyboardInterrupt: from Ctrl-C; what runs is ended at once, and resumes the next time.
        """
        waiting: dict[str, Job] = {}
        finished: set[str] = set()
        for job in self.jobs.values():
            if self.store.is_done(job.id):
                finished.add(job.id)
                self._tell("kept", job, took=self.store.manifest(job.id).seconds)
            else:
                waiting[job.id] = job
                self._tell("planned", job)
        try:
            while waiting or self._running:
                if not self._must_stop():
                    self._start_ready(waiting, finished)
                if not self._running:
                    break
                self._collect(finished)
        except BaseException:
            self.executor.stop()
            raise
        if self._failures:
            job, error = self._failures[0]
            raise _with_title(error, job, len(self._failures) - 1)

    def _teacher_needed(self, finished: set[str]) -> bool:
        return any(job.asks_teacher and job.id not in finished for job in self.jobs.values())

    def _must_stop(self) -> bool:
        return any(not isinstance(error, TrainingError) for _, error in self._failures)

    def _start_ready(self, waiting: dict[str, Job], finished: set[str]) -> None:
        ready = [job for job in waiting.values() if all(source in finished for source in job.inputs.values())]
        for job in sorted(ready, key=lambda job: (job.alone, -self._urgency[job.id])):
            if len(self._running) >= self.executor.slots or any(other.alone for other in self._running.values()):
                return
            if job.alone and self._running:
                return
            asking = sum(other.asks_teacher for other in self._running.values())
            if job.asks_teacher and self.teacher_slots is not None and asking >= self.teacher_slots:
                continue
            access = self.teacher.access() if job.asks_teacher and self.teacher is not None else None
            del waiting[job.id]
            threads = self.threads * self.executor.slots if job.alone else self.threads
            call = JobCall(root=str(self.store.root), job=job, threads=threads, teacher=access)
            self._running[self.executor.submit(call)] = job
            self._tell("started", job)

    def _collect(self, finished: set[str]) -> None:
        done, _ = wait(self._running, timeout=0.2, return_when=FIRST_COMPLETED)
        for job_id, count, total in self.executor.progress():
            self._tell("progress", self.jobs[job_id], done=count, total=total)
        for future in done:
            job = self._running.pop(future)
            error = future.exception()
            if error is None:
                finished.add(job.id)
                self._tell("finished", job, took=future.result())
                if job.asks_teacher and self.teacher is not None and not self._teacher_needed(finished):
                    self.teacher.stop()
                continue
            if not isinstance(error, EpigoneError):
                error = JobFailed(
                    f"the worker process ended: {error or type(error).__name__}",
                    where=job.title,
                    fix="most often memory ran out: lower resources.jobs or the batch size, and run again",
                )
            self._failures.append((job, error))
            self._tell("failed", job, error=str(error))

    def _tell(
        self,
        kind: Literal["planned", "kept", "started", "progress", "finished", "failed"],
        job: Job,
        *,
        done: int = 0,
        total: int | None = None,
        took: float | None = None,
        error: str | None = None,
    ) -> None:
        event = Event(
            kind=kind,
            job=job.id,
            stage=job.stage,
            title=job.title,
            seconds=round(time.perf_counter() - self._begun, 3),
            done=done,
            total=total,
            took=took,
            error=error,
        )
        if kind in ("started", "finished", "failed"):
            append_jsonl(self.store.root / "events.jsonl", event)
        if self.listener is not None:
            self.listener(event)


def _remaining_cost(jobs: Sequence[Job]) -> dict[str, float]:
    """For each job: its own cost plus that of the most costly chain of jobs behind it."""
    followers: dict[str, list[Job]] = {}
    for job in jobs:
        for source in job.inputs.values():
            followers.setdefault(source, []).append(job)
    found: dict[str, float] = {}

    def cost(job: Job) -> float:
        if job.id not in found:
            found[job.id] = job.cost + max((cost(other) for other in followers.get(job.id, [])), default=0.0)
        return found[job.id]

    for job in jobs:
        cost(job)
    return found


def _with_title(error: EpigoneError, job: Job, others: int) -> EpigoneError:
    where = error.where or job.title
    what = error.what if error.where is None or job.title in where else f"{error.what} (in: {job.title})"
    if others:
        what += f"; and {others} other failed {'job' if others == 1 else 'jobs'}"
    return type(error)(what, where=where, fix=error.fix)
