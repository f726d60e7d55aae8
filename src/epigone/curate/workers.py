"""Where chunks are computed: here, on this machine's cores, or on a Ray cluster; the results come in order, the same
anywhere."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
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


class Processes:
    """On ``count`` processes of this machine. The function travels to each of them once a call."""

    def __init__(self, count: int) -> None:
        self.count = count

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        # spawn, not fork: the caller may hold threads (torch, polars) whose locks a forked child would inherit locked.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.count, context, initializer=_receive, initargs=(function,)) as pool:
            try:
                yield from _in_order(lambda item: pool.submit(_apply, item), Future.result, items, 2 * self.count)
            except BrokenProcessPool as error:
                raise EpigoneError(
                    "a worker process ended without an answer",
                    where="workers",
                    fix="if memory ran out, use fewer workers; a script calls this below `if __name__ == '__main__':`",
                ) from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


class RayWorkers:
    """On a Ray cluster: the one at ``address``, or a local one with ``count`` workers that ends with the last map."""

    def __init__(self, count: int, address: str | None = None) -> None:
        self.count, self.address = count, address
        self._maps = 0  # steps run as a chain, so that one map may end while the next still waits for its tasks
        self._ours = False

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        ray = self._start()
        try:
            carried = ray.put(function)
            task = ray.remote(_call)
            yield from _in_order(lambda item: task.remote(carried, item), ray.get, items, 2 * self.count)
        finally:
            self._maps -= 1
            if self._ours and not self._maps:
                ray.shutdown()
                self._ours = False

    def _start(self) -> Any:
        try:
            import ray
        except ImportError as error:
            raise MissingDependency("Ray is not installed", fix="pip install 'epigone[cluster]'") from error
        if not ray.is_initialized():
            local = {} if self.address else {"num_cpus": self.count, "include_dashboard": False}
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level="error", **local)
            except ConnectionError as error:
                raise EpigoneError(
                    "no Ray cluster answers", where=self.address, fix="check the address, or use --ray local"
                ) from error
            self._ours = True
        self._maps += 1
        return ray


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


_function: Callable[[Any], Any] | None = None


def _receive(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function


def _apply(item: Any) -> Any:
    assert _function is not None
    return _function(item)


def _call(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)
