"""Runs one job, in whatever process an executor chose. The same function for every executor."""

from __future__ import annotations

import importlib
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from epigone.disk import write_text
from epigone.errors import EpigoneError, JobFailed
from epigone.study.job import Job, JobContext, Progress, TeacherAccess, unheard
from epigone.study.store import Store

__all__ = ["JobCall", "execute_job"]


class JobCall(Struct, frozen=True, kw_only=True):
    """What an executor sends to a worker."""

    root: str
    job: Job
    threads: int
    teacher: TeacherAccess | None = None


def execute_job(call: JobCall, progress: Progress = unheard) -> float:
    """Run the job and write its manifest; returns the seconds it took.

    Raises:
        EpigoneError: as the job function raised it.
        JobFailed: anything unexpected; the traceback is in the job's ``error.txt``.
    """
    store, job = Store(Path(call.root)), call.job
    started = time.perf_counter()
    folder, work = store.begin(job)
    context = JobContext(
        job=job,
        folder=folder,
        work=work,
        inputs={name: store.folder(source) for name, source in job.inputs.items()},
        cache=store.cache,
        threads=call.threads,
        teacher=call.teacher,
        progress=progress,
    )
    try:
        _function(job.function)(context)
    except EpigoneError:
        raise
    except Exception as error:
        write_text(folder / "error.txt", traceback.format_exc())
        raise JobFailed(
            f"{type(error).__name__}: {error}",
            where=job.title,
            fix=f"the traceback is in {folder / 'error.txt'}; if the input is fine, report it as a defect of epigone",
        ) from error
    seconds = time.perf_counter() - started
    store.finish(job, seconds=seconds, peak_memory_mib=_peak_memory_mib(), threads=call.threads)
    return seconds


def _function(name: str) -> Callable[[JobContext], None]:
    module, _, attribute = name.partition(":")
    found: Callable[[JobContext], None] = getattr(importlib.import_module(module), attribute)
    return found


def _peak_memory_mib() -> float:
    """Highest resident memory of this process so far; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
