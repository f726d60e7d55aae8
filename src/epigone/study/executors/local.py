"""A pool of worker processes on this machine: one job a GPU, or one thread (or more) a CPU job."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.queues import SimpleQueue

from epigone.study.execute import JobCall, execute_job

__all__ = ["LocalPool"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
_reports: SimpleQueue[tuple[str, int, int | None]] | None = None


class LocalPool:
    """Workers are spawned once and keep what they imported. They end with this process, also at kill -9.

    Args:
        slots: jobs at a time.
        threads: threads a job; numeric libraries read it when a worker starts, so it is set before.
        gpus: device indices; each worker sees one. Empty: CPU.
    """

    def __init__(self, slots: int, *, threads: int = 1, gpus: tuple[int, ...] = ()) -> None:
        self.slots = slots
        context = multiprocessing.get_context("spawn")
        self._reports: SimpleQueue[tuple[str, int, int | None]] = context.SimpleQueue()
        devices = context.SimpleQueue()
        for index in range(slots):
            devices.put(gpus[index % len(gpus)] if gpus else None)
        # Spawned workers inherit this environment; it must be there before they import a numeric library.
        for variable in _THREAD_VARIABLES:
            os.environ[variable] = str(threads)
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        self._pool = ProcessPoolExecutor(
            slots, mp_context=context, initializer=_start_worker, initargs=(os.getpid(), self._reports, devices)
        )

    def submit(self, call: JobCall) -> Future[float]:
        """Start a job in a worker."""
        return self._pool.submit(_run, call)

    def progress(self) -> list[tuple[str, int, int | None]]:
        """Reports that workers sent since the last call."""
        found = []
        while not self._reports.empty():
            found.append(self._reports.get())
        return found

    def close(self) -> None:
        """Wait for running jobs, then end the workers."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(
    parent: int, reports: SimpleQueue[tuple[str, int, int | None]], devices: SimpleQueue[int | None]
) -> None:
    global _reports
    _reports = reports
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what ends
    device = devices.get()
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(device)
    end_with_parent(parent)


def end_with_parent(parent: int) -> None:
    """Make this process end when ``parent`` does: a worker without its parent would write into a run that it lost."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run(call: JobCall) -> float:
    last = 0.0

    def report(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if _reports is not None and (now - last > 0.3 or done == total):
            last = now
            _reports.put((call.job.id, done, total))

    return execute_job(call, report)
