"""A pool of worker processes on this machine: one job a GPU, or one thread (or more) a CPU job."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import time
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.queues import SimpleQueue

from epigone.models.leash import end_with_parent
from epigone.study.execute import JobCall, execute_job

__all__ = ["LocalPool"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
_SLOW_IMPORTS = ("torch", "transformers.modeling_utils")
_reports: SimpleQueue[tuple[str, int, int | None]] | None = None


class LocalPool:
    """Workers are spawned once and keep what they imported. They end with this process, also at kill -9.

    Args:
        slots: jobs at a time.
        threads: threads a job; numeric libraries read it when a worker starts, so it is set before.
        gpus: device indices; each worker sees one. Empty: CPU.
        preload: a second worker imports what models need (seconds) while the first begins with the first job.
    """

    def __init__(self, slots: int, *, threads: int = 1, gpus: tuple[int, ...] = (), preload: bool = False) -> None:
        self.slots, self._preload = slots, preload and slots > 1
        context = multiprocessing.get_context("spawn")
        self._reports: SimpleQueue[tuple[str, int, int | None]] = context.SimpleQueue()
        devices = context.SimpleQueue()
        for index in range(slots):
            devices.put(gpus[index % len(gpus)] if gpus else None)
        # Spawned workers inherit this environment; it must be there before they import a numeric library.
        wanted = dict.fromkeys(_THREAD_VARIABLES, str(threads)) | {"TOKENIZERS_PARALLELISM": "false"}
        self._environment = {variable: os.environ.get(variable) for variable in wanted}
        os.environ.update(wanted)
        self._pool = ProcessPoolExecutor(
            slots, mp_context=context, initializer=_start_worker, initargs=(os.getpid(), self._reports, devices)
        )

    def submit(self, call: JobCall) -> Future[float]:
        """Start a job in a worker."""
        # Ctrl-C reaches the whole group, and the parent decides what ends. A worker inherits the blocked signal, so
        # that it cannot be hit while it starts either.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            running = self._pool.submit(_run, call)
            if self._preload:
                self._pool.submit(_import_slow)
                self._preload = False
            return running
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def progress(self) -> list[tuple[str, int, int | None]]:
        """Reports that workers sent since the last call."""
        found = []
        while not self._reports.empty():
            found.append(self._reports.get())
        return found

    def stop(self) -> None:
        """End the workers at once."""
        # Python 3.14 has terminate_workers for this.
        for worker in list((self._pool._processes or {}).values()):
            worker.terminate()

    def close(self) -> None:
        """Wait for running jobs, end the workers, and give this process its environment back."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for variable, before in self._environment.items():
            if before is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = before


def _start_worker(
    parent: int, reports: SimpleQueue[tuple[str, int, int | None]], devices: SimpleQueue[int | None]
) -> None:
    global _reports
    _reports = reports
    device = devices.get()
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(device)
    # The pool starts workers in the scheduler's own thread, which lives as long as its process.
    end_with_parent(parent, at_once=True)


def _import_slow() -> None:
    for module in _SLOW_IMPORTS:
        importlib.import_module(module)


def _run(call: JobCall) -> float:
    last = 0.0

    def report(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if _reports is not None and (now - last > 0.3 or done == total):
            last = now
            _reports.put((call.job.id, done, total))

    return execute_job(call, report)
