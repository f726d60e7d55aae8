"""Replies go to the disk in groups, and nobody uses one before it is there."""

from __future__ import annotations

import asyncio

from epigone.models.request_cache import CachedReply, RequestCache

__all__ = ["Committer"]


class Committer:
    """Collects replies that arrive close together into one transaction, off the event loop."""

    def __init__(self, cache: RequestCache) -> None:
        self._cache = cache
        self._arrived: asyncio.Queue[tuple[CachedReply, asyncio.Future[None]]] = asyncio.Queue()

    async def commit(self, entry: CachedReply) -> None:
        """Return once ``entry`` is on the disk.

        Raises:
            DiskError: it cannot be written.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrived.put_nowait((entry, written))
        await written

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            group = [await self._arrived.get()]
            while not self._arrived.empty():
                group.append(self._arrived.get_nowait())
            try:
                await asyncio.to_thread(self._cache.put, [entry for entry, _ in group])
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait for the disk must hear of it
                for _, written in group:
                    if not written.done():
                        written.set_exception(error)
                continue
            for _, written in group:
                if not written.done():
                    written.set_result(None)
