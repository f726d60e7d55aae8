"""Who is asking what at this moment, so that two processes with the same question pay for one answer."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from epigone.errors import DiskError
from epigone.models.request_cache import RequestCache, Transaction

__all__ = ["Claims"]

_TOGETHER = 500


class Claims:
    """One asker's claims in a cache; they end with :meth:`release`, with an answer, or with its process.

    A claim is in the same file as the answers and taken in one transaction with a look at them: a request is answered,
    or being asked by one, or free. An asker lives as long as it holds the lock on a file of its own beside the cache,
    which the system opens when the process ends, however it ends; no clock and no process number is asked.

    Raises:
        DiskError: the file beside the cache cannot be made.
    """

    def __init__(self, cache: RequestCache) -> None:
        self._cache = cache
        self._owner = secrets.token_hex(8)
        self._life: int | None = None

    def take(self, digests: Sequence[str]) -> set[str]:
        """Those of ``digests`` that are now this asker's to ask: not answered, and claimed by nobody who lives.

        Raises:
            DiskError: the claims cannot be written.
        """
        self._begin()
        mine: set[str] = set()
        with self._cache.transaction() as run:
            for some in _parts(digests):
                marks = ",".join("?" * len(some))
                answered = run(f"SELECT digest FROM replies WHERE digest IN ({marks})", some)  # noqa: S608 - marks
                free = set(some) - {digest for (digest,) in answered} - self._held(run, some)
                for digest in free:
                    run("INSERT OR REPLACE INTO claims VALUES (?, ?)", (digest, self._owner))
                mine |= free
        return mine

    def held_elsewhere(self, digests: Sequence[str]) -> set[str]:
        """Those of ``digests`` that others who live have claimed; a look, for which nobody waits.

        Raises:
            DiskError: the claims cannot be read.
        """
        return {digest for some in _parts(digests) for digest in self._held(self._cache.look, some)}

    def drop(self, digests: Iterable[str]) -> None:
        """Give up claims on what got no answer, so that others may try at once.

        Raises:
            DiskError: it cannot be written.
        """
        with self._cache.transaction() as run:
            for digest in digests:
                run("DELETE FROM claims WHERE digest = ? AND owner = ?", (digest, self._owner))

    def release(self) -> None:
        """Give up everything; what those who are gone have left is cleared away too.

        Raises:
            DiskError: it cannot be written. The claims have ended all the same.
        """
        if self._life is None:
            return
        self._file(self._owner).unlink(missing_ok=True)
        os.close(self._life)
        self._life = None
        with self._cache.transaction() as run:
            for (owner,) in run("SELECT DISTINCT owner FROM claims", ()):
                if not self._lives(owner):
                    run("DELETE FROM claims WHERE owner = ?", (owner,))
        for left in self._cache.path.parent.glob(f"{self._file('').name}*"):
            if not self._lives(left.name.removeprefix(self._file("").name)):
                left.unlink(missing_ok=True)

    def _begin(self) -> None:
        """Make this asker's file: under another name until it is locked, for one without a lock may be cleared away."""
        if self._life is not None:
            return
        file = self._file(self._owner)
        unlocked = file.with_name(f"{self._cache.path.name}-begins-{self._owner}")
        try:
            self._life = os.open(unlocked, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
            fcntl.flock(self._life, fcntl.LOCK_EX)
            unlocked.rename(file)
        except OSError as error:
            fix = "free some space or look at the folder's rights, then run again: answers so far are kept"
            raise DiskError(f"cannot be made: {error.strerror}", where=str(file), fix=fix) from error

    def _held(self, run: Transaction, digests: Sequence[str]) -> set[str]:
        marks = ",".join("?" * len(digests))
        rows = run(
            f"SELECT digest, owner FROM claims WHERE owner != ? AND digest IN ({marks})",  # noqa: S608 - question marks
            (self._owner, *digests),
        )
        lives = {owner: self._lives(owner) for owner in {owner for _, owner in rows}}
        return {digest for digest, owner in rows if lives[owner]}

    def _lives(self, owner: str) -> bool:
        """Whether an asker holds the lock on its file."""
        try:
            found = os.open(self._file(owner), os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        try:
            fcntl.flock(found, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(found)
        return False

    def _file(self, owner: str) -> Path:
        return self._cache.path.with_name(f"{self._cache.path.name}-asks-{owner}")


def _parts(digests: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(digests), _TOGETHER):
        yield digests[start : start + _TOGETHER]
