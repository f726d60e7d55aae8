"""Where chunks are computed: here, on this machine's cores, or on a Ray cluster; the results come in order, the same
anywhere."""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from epigone.errors import EpigoneError, MissingDependency

__all__ = ["Here", "Processes", "RayWorkers", "Workers", "open_workers"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers(Protocol):
    """Applies a function to items and gives the results in the items' order, looking only a few items ahead."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]: ...


class Here:
    """In this process, one item at a time."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        return map(function, items)


class _WhileUsed(ABC):
    """Something costly that is started with the first map and stopped with the last: steps run as a chain, so that one
    map may end while the next still waits for its tasks."""

    def __init__(self) -> None:
        self._maps = 0

    @contextmanager
    def _used(self) -> Iterator[None]:
        if not self._maps:
            self._start()
        self._maps += 1
        try:
            yield
        finally:
            self._maps -= 1
            if not self._maps:
                self._stop()

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _stop(self) -> None: ...


class Processes(_WhileUsed):
    """On ``count`` processes of this machine; a function reaches each of them once, through a temporary file."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        with self._used(), tempfile.NamedTemporaryFile(prefix="epigone-step-") as carried:
            pool = self._pool
            assert pool is not None
            pickle.dump(function, carried)
            carried.flush()
            path = carried.name
            try:
                yield from _in_order(
                    lambda item: pool.submit(_call_carried, path, item), Future.result, items, 2 * self.count
                )
            except BrokenProcessPool as error:
                raise EpigoneError(
                    "a worker process ended without an answer",
                    where="workers",
                    fix="if memory ran out, use fewer workers; a script calls this below `if __name__ == '__main__':`",
                ) from error

    def _start(self) -> None:
        # spawn, not fork: the caller may hold threads (torch, polars) whose locks a forked child would inherit locked.
        self._pool = ProcessPoolExecutor(self.count, multiprocessing.get_context("spawn"))

    def _stop(self) -> None:
        assert self._pool is not None
        self._pool.shutdown(cancel_futures=True)
        self._pool = None


class RayWorkers(_WhileUsed):
    """On a Ray cluster: the one at ``address``, or a local one with ``count`` workers that ends with the last map."""

    def __init__(self, count: int, address: str | None = None) -> None:
        super().__init__()
        self.count, self.address = count, address
        self._ours = False

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        with self._used():
            ray = _ray()
            carried = ray.put(function)
            task = ray.remote(_call)
            yield from _in_order(lambda item: task.remote(carried, item), ray.get, items, 2 * self.count)

    def _start(self) -> None:
        ray = _ray()
        self._ours = not ray.is_initialized()
        if not self._ours:
            return
        local = {} if self.address else {"num_cpus": self.count, "include_dashboard": False}
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level="error", **local)
        except ConnectionError as error:
            raise EpigoneError(
                "no Ray cluster answers", where=self.address, fix="check the address, or use --ray local"
            ) from error

    def _stop(self) -> None:
        if self._ours:
            _ray().shutdown()


def open_workers(count: int, ray: str | None = None) -> Workers:
    """``count`` workers: this process for 1, else processes; on Ray where an address (or ``local``) is given."""
    if ray is not None:
        return RayWorkers(count, None if ray == "local" else ray)
    return Here() if count <= 1 else Processes(count)


def _in_order(
    submit: Callable[[Item], Any], wait: Callable[[Any], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Submit at most ``ahead`` items before the oldest result is taken: memory does not grow with the input."""
    pending: deque[Any] = deque()
    for item in items:
        pending.append(submit(item))
        if len(pending) >= ahead:
            yield wait(pending.popleft())
    while pending:
        yield wait(pending.popleft())


@lru_cache(maxsize=2)
def _carried(path: str) -> Callable[[Any], Any]:
    with open(path, "rb") as file:
        function: Callable[[Any], Any] = pickle.load(file)  # noqa: S301 - written by this run's own parent process
    return function


def _call_carried(path: str, item: Any) -> Any:
    return _carried(path)(item)


def _call(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingDependency("Ray is not installed", fix="pip install 'epigone[cluster]'") from error
    return ray
