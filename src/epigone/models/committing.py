"""Replies are written together, and nobody goes on with one before it is."""

from __future__ import annotations

import asyncio

from epigone.models.request_cache import CachedReply, RequestCache

__all__ = ["Committer"]


class Committer:
    """Puts all replies that arrive in one turn of the event loop into the cache in one transaction.

    On the loop itself: a transaction takes 0.1 ms, and a detour over a thread would hold up everybody's next request
    for several turns. What takes long, forcing it to the disk, is the cache's :meth:`~RequestCache.sync`.
    """

    def __init__(self, cache: RequestCache) -> None:
        self._cache = cache
        self._arrived: list[tuple[CachedReply, asyncio.Future[None]]] = []

    async def commit(self, entry: CachedReply) -> None:
        """Return once ``entry`` is in the cache, where no kill of this process can lose it.

        Raises:
            DiskError: it cannot be written.
        """
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        if not self._arrived:
            loop.call_soon(self._write)
        self._arrived.append((entry, written))
        await written

    def _write(self) -> None:
        group, self._arrived = self._arrived, []
        problem: Exception | None = None
        try:
            self._cache.put([entry for entry, _ in group])
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            problem = error
        for _, written in group:
            if written.done():  # its request was cancelled
                continue
            if problem is None:
                written.set_result(None)
            else:
                written.set_exception(problem)
