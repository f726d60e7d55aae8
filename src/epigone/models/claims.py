"""Who is asking what at this moment, so that two processes with the same question pay for one answer."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterable, Sequence

import psutil

from epigone.models.request_cache import RequestCache, Transaction
from epigone.models.running import is_running

__all__ = ["Claims"]

_SILENT_S = 30.0
"""After how long without a beat a holder is taken for gone, although its process seems to run."""


class Claims:
    """One asker's claims in a cache; they end with its :meth:`release`, with an answer, or with its process.

    A claim is in the same file as the answers and taken in one transaction with a look at them: a request is either
    answered, or being asked by one, or free. A holder is gone when its process is (on this machine), or when it has not
    shown a sign of life for 30 seconds.
    """

    def __init__(self, cache: RequestCache) -> None:
        self._cache = cache
        self._owner = secrets.token_hex(8)
        self._process = (os.getpid(), psutil.Process().create_time(), socket.gethostname())

    def take(self, digests: Sequence[str]) -> set[str]:
        """Those of ``digests`` that are now this asker's to ask: not answered, and claimed by nobody who lives.

        Raises:
            DiskError: the claims cannot be written.
        """
        with self._cache.transaction() as run:
            self._beat(run)
            marks = ",".join("?" * len(digests))
            rows = run(f"SELECT digest FROM replies WHERE digest IN ({marks})", digests)  # noqa: S608 - question marks
            answered = {digest for (digest,) in rows}
            claims = "SELECT digest, owner FROM claims WHERE owner != ? AND digest IN"
            rows = run(f"{claims} ({marks})", (self._owner, *digests))
            living = self._living(run) if rows else set()
            taken = {digest for digest, owner in rows if owner in living}
            mine = set(digests) - answered - taken
            for digest in mine:
                run("INSERT OR REPLACE INTO claims VALUES (?, ?)", (digest, self._owner))
        return mine

    def beat(self) -> None:
        """A sign of life, to be given every few seconds.

        Raises:
            DiskError: it cannot be written.
        """
        with self._cache.transaction() as run:
            self._beat(run)

    def drop(self, digests: Iterable[str]) -> None:
        """Give up claims on what got no answer, so that others may try at once.

        Raises:
            DiskError: it cannot be written.
        """
        with self._cache.transaction() as run:
            for digest in digests:
                run("DELETE FROM claims WHERE digest = ? AND owner = ?", (digest, self._owner))

    def release(self) -> None:
        """Give up everything, and forget this asker and those that are gone.

        Raises:
            DiskError: it cannot be written.
        """
        with self._cache.transaction() as run:
            staying = self._living(run) - {self._owner}
            for (owner,) in run("SELECT owner FROM askers", ()):
                if owner not in staying:
                    run("DELETE FROM claims WHERE owner = ?", (owner,))
                    run("DELETE FROM askers WHERE owner = ?", (owner,))

    def _beat(self, run: Transaction) -> None:
        run("INSERT OR REPLACE INTO askers VALUES (?, ?, ?, ?, ?)", (self._owner, *self._process, time.time()))

    def _living(self, run: Transaction) -> set[str]:
        """The askers who are at work."""
        heard = run("SELECT owner, pid, started_at, host FROM askers WHERE beat_at > ?", (time.time() - _SILENT_S,))
        here = self._process[2]
        return {owner for owner, pid, started_at, host in heard if host != here or is_running(pid, started_at)}
