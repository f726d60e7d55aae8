"""Every paid answer, on disk before it is used: a SQLite file that several processes may share."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from epigone.disk import digest_json
from epigone.errors import DiskError
from epigone.records import Reply, Request, ScoreReply, ScoreRequest

__all__ = ["CachedReply", "OpenBatch", "RequestCache", "Transaction", "Usage", "request_digest"]

ReplyT = TypeVar("ReplyT", bound=Reply | ScoreReply)
Transaction = Callable[[str, Sequence[object]], list[Any]]
"""Runs one statement with its values; gives its rows."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    digest TEXT PRIMARY KEY,         -- of model name + canonical request (with sample index and seed)
    model TEXT NOT NULL,
    request TEXT NOT NULL,           -- canonical JSON, so that the file can be read without epigone
    reply TEXT NOT NULL,
    usd REAL NOT NULL,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    answered_at REAL NOT NULL        -- seconds since 1970
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    batch_id TEXT PRIMARY KEY,       -- of the provider's batch endpoint
    base_url TEXT NOT NULL,
    model TEXT NOT NULL,
    batch TEXT NOT NULL,             -- JSON: digests of its requests, the most it can cost
    collected INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (
    digest TEXT PRIMARY KEY,         -- of a request that somebody is asking
    owner TEXT NOT NULL              -- who is asking, while a file of that name beside this one is locked
) WITHOUT ROWID;
"""
_LOOKUP_SIZE = 500


def request_digest(model: str, request: Request | ScoreRequest) -> str:
    """What makes two requests the same: the model's name and every field of the request, in canonical JSON."""
    return digest_json([model, type(request).__name__, request])


class CachedReply(Struct, frozen=True, kw_only=True):
    """A reply on its way into the cache."""

    digest: str
    model: str
    request: Request | ScoreRequest | None
    reply: Reply | ScoreReply
    usd: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class OpenBatch(Struct, frozen=True, kw_only=True):
    """A batch at a provider, not collected yet, and the most it can cost."""

    batch_id: str
    digests: tuple[str, ...]
    worst_usd: float
    worst_tokens: int


class Usage(Struct, frozen=True):
    """What replies have cost."""

    replies: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0

    @property
    def tokens(self) -> int:
        """Prompts and replies together."""
        return self.prompt_tokens + self.completion_tokens


class RequestCache:
    """Replies by request digest. What :meth:`put` has written survives a kill, after :meth:`sync` a power cut as well.

    The file is in WAL mode: readers never wait, writers wait for one another for up to a minute.

    Args:
        path: the SQLite file; it is made, with its folder, when it does not exist.

    Raises:
        DiskError: the file cannot be made, or is no such cache.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")  # sync() forces the log to the disk
            self._connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            fix = "choose another file, or move this one away to start an empty cache"
            raise DiskError(f"cannot be used as a request cache: {error}", where=str(self.path), fix=fix) from error

    def get(self, digest: str) -> Reply | None:
        """The reply with this digest, if it is there."""
        return self.get_many([digest], Reply).get(digest)

    def get_many(self, digests: Sequence[str], kind: type[ReplyT]) -> dict[str, ReplyT]:
        """Those of the replies that are there, by digest."""
        found: dict[str, ReplyT] = {}
        decoder = msgspec.json.Decoder(kind)
        for start in range(0, len(digests), _LOOKUP_SIZE):
            some = list(digests[start : start + _LOOKUP_SIZE])
            marks = ",".join("?" * len(some))
            query = f"SELECT digest, reply FROM replies WHERE digest IN ({marks})"  # noqa: S608 - only question marks
            rows = self.look(query, some)
            found |= {digest: decoder.decode(reply) for digest, reply in rows}
        return found

    def put(self, entries: Iterable[CachedReply]) -> None:
        """Commit replies in one transaction; from then on a kill of this process cannot lose them.

        Raises:
            DiskError: no space, or the file is locked for more than a minute; none of them is then stored.
        """
        rows = [_row(entry) for entry in entries]
        with self.transaction() as run:
            for row in rows:
                run("INSERT OR REPLACE INTO replies VALUES (?,?,?,?,?,?,?,?)", row)
                run("DELETE FROM claims WHERE digest=?", row[:1])

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Statements that happen together or not at all, and that nobody else's fall between.

        Raises:
            DiskError: no space, or the file is locked for more than a minute; nothing has then happened.
        """

        with self._lock, _disk_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._run
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def look(self, statement: str, values: Sequence[object]) -> list[Any]:
        """The rows of one reading statement; nobody waits for it.

        Raises:
            DiskError: the file cannot be read.
        """
        with self._lock, _disk_errors(self.path):
            return self._run(statement, values)

    def _run(self, statement: str, values: Sequence[object]) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()

    def sync(self) -> None:
        """Force what was put to the disk: from then on a power cut cannot lose it either.

        Raises:
            DiskError: the disk does not take it.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        try:
            descriptor = os.open(log, os.O_RDONLY)
        except FileNotFoundError:
            return  # SQLite has moved its log into the file, and forces that itself
        try:
            os.fsync(descriptor)
        except OSError as error:
            fix = "free some space or look at the disk, then run again: answers so far are kept"
            raise DiskError(f"request cache: {error.strerror}", where=str(log), fix=fix) from error
        finally:
            os.close(descriptor)

    def usage(self, model: str | None = None) -> Usage:
        """What the answers in the cache have cost: of one model, or of all."""
        query = (
            "SELECT COUNT(*), COALESCE(SUM(prompt_tokens), 0), COALESCE(SUM(completion_tokens), 0),"
            " COALESCE(SUM(usd), 0.0) FROM replies WHERE ?1 IS NULL OR model = ?1"
        )
        (row,) = self.look(query, (model,))
        return Usage(*row)

    def open_batches(self, base_url: str, model: str) -> list[OpenBatch]:
        """Batches handed to a provider and not yet collected."""
        query = "SELECT batch FROM batches WHERE base_url=? AND model=? AND collected=0"
        rows = self.look(query, (base_url, model))
        return [msgspec.json.decode(batch, type=OpenBatch) for (batch,) in rows]

    def note_batch(self, batch: OpenBatch, base_url: str, model: str) -> None:
        """Remember a batch as soon as the provider has accepted it."""
        row = (batch.batch_id, base_url, model, msgspec.json.encode(batch).decode())
        with self._lock, _disk_errors(self.path):
            self._connection.execute("INSERT OR REPLACE INTO batches VALUES (?,?,?,?,0)", row)

    def close_batch(self, batch_id: str) -> bool:
        """Mark a batch as collected; whether nobody had before."""
        with self._lock, _disk_errors(self.path):
            closing = "UPDATE batches SET collected=1 WHERE batch_id=? AND collected=0"
            return self._connection.execute(closing, (batch_id,)).rowcount == 1

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _row(entry: CachedReply) -> tuple[object, ...]:
    request = msgspec.json.encode(entry.request, order="deterministic").decode()
    reply = msgspec.json.encode(entry.reply, order="deterministic").decode()
    tokens = (entry.prompt_tokens, entry.completion_tokens)
    return (entry.digest, entry.model, request, reply, entry.usd, *tokens, time.time())


class _disk_errors:  # noqa: N801 - used as a verb
    """Turn SQLite's refusals into a :class:`DiskError` that names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            fix = "free some space or end the process that holds the file, then run again: answers so far are kept"
            raise DiskError(f"request cache: {error}", where=str(self._path), fix=fix) from error
