"""The same jobs on a Ray cluster whose machines share the run folder (NFS, a mounted bucket)."""

from __future__ import annotations

import importlib
from concurrent.futures import Future
from typing import Any

from epigone.errors import EndpointError, MissingDependency
from epigone.study.execute import JobCall, execute_job

__all__ = ["RayCluster"]


class RayCluster:
    """Sends jobs to Ray; Ray places them by the CPUs and GPUs that each asks for.

    Args:
        address: ``auto`` for the cluster this machine belongs to, ``local`` to start one here, or ``ray://host:port``.
        slots: jobs at a time.
        threads: CPUs a job.
        gpus: GPUs a job.

    Raises:
        MissingDependency: ray is not installed.
        EndpointError: no cluster answers at ``address``.
    """

    def __init__(self, address: str, *, slots: int, threads: int = 1, gpus: int = 0) -> None:
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError:
            raise MissingDependency("Ray is not installed", fix="pip install 'epigone[cluster]'") from None
        self.slots = slots
        environment = {"env_vars": {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}}
        try:
            self._ray.init(
                address=None if address == "local" else address,
                num_cpus=slots * threads if address == "local" else None,
                runtime_env=environment,
                include_dashboard=False,
                log_to_driver=False,
                ignore_reinit_error=True,
            )
        except ConnectionError as error:
            raise EndpointError(
                f"no Ray cluster answers: {error}", where=address, fix="start one with `ray start`"
            ) from None
        self._remote = self._ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(_execute)

    def submit(self, call: JobCall) -> Future[float]:
        """Start a job somewhere in the cluster; its own error is raised, not Ray's wrapping of it."""
        future: Future[float] = Future()
        future.set_running_or_notify_cancel()

        def settle(done: Future[float]) -> None:
            error = done.exception()
            if error is None:
                future.set_result(done.result())
            else:
                future.set_exception(getattr(error, "cause", None) or error)

        self._remote.remote(call).future().add_done_callback(settle)
        return future

    def progress(self) -> list[tuple[str, int, int | None]]:
        """Ray jobs report only their end."""
        return []

    def stop(self) -> None:
        """Leave the cluster, which ends this driver's jobs."""
        self.close()

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()


def _execute(call: JobCall) -> float:
    return execute_job(call)
