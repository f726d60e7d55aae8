"""A hard limit on what may be spent: reserved before a request is sent, settled when its reply is known."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from msgspec import Struct
from pydantic import Field

from epigone.errors import DiskError
from epigone.specs import Spec

__all__ = ["Budget", "BudgetSpec", "Reservation", "Spending"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spending (
    owner TEXT PRIMARY KEY,              -- one row a Budget object that ever asked
    pid INTEGER NOT NULL,
    spent_usd REAL NOT NULL DEFAULT 0, spent_tokens INTEGER NOT NULL DEFAULT 0,
    unconfirmed_usd REAL NOT NULL DEFAULT 0, unconfirmed_tokens INTEGER NOT NULL DEFAULT 0,
    held_usd REAL NOT NULL DEFAULT 0, held_tokens INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""

_RESERVE = """
UPDATE spending SET held_usd = held_usd + ?, held_tokens = held_tokens + ? WHERE owner = ?
AND (SELECT SUM(spent_usd + unconfirmed_usd + held_usd) FROM spending) + ? <= ?
AND (SELECT SUM(spent_tokens + unconfirmed_tokens + held_tokens) FROM spending) + ? <= ?
"""


class BudgetSpec(Spec):
    """What may be spent on API models in one study."""

    usd: Annotated[float, Field(gt=0)] | None = None
    """US dollars; everybody who is asked over an API then states a ``price``. ``None``: no limit."""

    tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens, prompts and replies together. ``None``: no limit."""


class Reservation(Struct, frozen=True):
    """The most that a request in flight may turn out to cost."""

    usd: float
    tokens: int


class Spending(Struct, frozen=True):
    """What a ledger says: ``spent`` was billed, ``unconfirmed`` may have been, ``held`` is in flight."""

    spent_usd: float = 0.0
    spent_tokens: int = 0
    unconfirmed_usd: float = 0.0
    unconfirmed_tokens: int = 0
    held_usd: float = 0.0
    held_tokens: int = 0


class Budget:
    """Counts what was spent and what is in flight; shared by threads and, through its ledger, by processes.

    A request is sent only if the worst it can cost still fits, so the limit is never passed however uneven the
    replies are. An attempt whose end is unknown (time-out, dropped connection, unreadable reply, a process killed with
    requests in flight) may have been billed: it stays counted at its worst, as ``unconfirmed``.

    Args:
        usd: limit in US dollars; ``None``: no limit.
        tokens: limit in tokens, prompts and replies together; ``None``: no limit.
        ledger: SQLite file that keeps the count over restarts; all budgets on one ledger spend together. ``None``: the
            count lives as long as this object.

    Raises:
        DiskError: the ledger cannot be used.
    """

    def __init__(
        self, usd: float | None = None, tokens: int | None = None, *, ledger: Path | str | None = None
    ) -> None:
        self.usd, self.tokens, self.ledger = usd, tokens, ledger
        self._owner, self._has_row = secrets.token_hex(8), False
        self._lock = threading.Lock()
        if ledger is not None:
            with suppress(OSError):
                Path(ledger).parent.mkdir(parents=True, exist_ok=True)
        with self._errors():
            self._connection = sqlite3.connect(
                ":memory:" if ledger is None else ledger, timeout=60, check_same_thread=False, isolation_level=None
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(_SCHEMA)

    def reserve(self, worst: Reservation) -> bool:
        """Set ``worst`` aside if it fits; ``False`` (and nothing set aside) if it does not."""
        most_usd = float("inf") if self.usd is None else self.usd
        most_tokens = float("inf") if self.tokens is None else self.tokens
        with self._own_row():
            row = (worst.usd, worst.tokens, self._owner, worst.usd, most_usd, worst.tokens, most_tokens)
            return self._connection.execute(_RESERVE, row).rowcount == 1

    def settle(self, worst: Reservation, *, usd: float, tokens: int) -> None:
        """Replace a reservation by what the reply really cost; 0 and 0 for an attempt that was not billed."""
        self._add(spent=Reservation(usd, tokens), held=_negative(worst))

    def settle_unknown(self, worst: Reservation) -> None:
        """Keep a reservation counted: the attempt may have been billed and nobody can tell."""
        self._add(unconfirmed=worst, held=_negative(worst))

    def confirm(self, worst: Reservation, cost: Reservation) -> None:
        """Replace what was unconfirmed by what it really cost, also if another process has counted it."""
        self._add(spent=cost, unconfirmed=_negative(worst))

    def is_stuck(self) -> bool:
        """Whether nothing is in flight anywhere, so that waiting cannot free anything."""
        with self._lock, self._errors():
            holders = self._connection.execute("SELECT owner, pid FROM spending WHERE held_tokens > 0").fetchall()
        return not any(owner == self._owner or _is_running(pid) for owner, pid in holders)

    def spending(self) -> Spending:
        """The state of the ledger."""
        columns = ", ".join(f"COALESCE(SUM({field}), 0)" for field in Spending.__struct_fields__)
        with self._lock, self._errors():
            return Spending(*self._connection.execute(f"SELECT {columns} FROM spending").fetchone())  # noqa: S608

    def describe(self) -> str:
        """What was spent of what, for an error message or a progress line."""
        now, parts = self.spending(), []
        if self.usd is not None:
            parts.append(f"${now.spent_usd + now.unconfirmed_usd + now.held_usd:,.4f} of ${self.usd:,.2f}")
        if self.tokens is not None:
            total = now.spent_tokens + now.unconfirmed_tokens + now.held_tokens
            parts.append(f"{total:,} of {self.tokens:,} tokens")
        unknown = now.unconfirmed_tokens + now.held_tokens
        if not parts:
            parts.append(f"{now.spent_tokens + unknown:,} tokens, without a limit")
        if unknown:
            parts.append(f"{unknown:,} of these tokens in attempts whose end is unknown")
        return ", ".join(parts)

    def _add(self, **amounts: Reservation) -> None:
        """Add to this object's own row."""
        sums = ", ".join(f"{kind}_usd = {kind}_usd + ?, {kind}_tokens = {kind}_tokens + ?" for kind in amounts)
        values = [value for amount in amounts.values() for value in (amount.usd, amount.tokens)]
        with self._own_row():
            self._connection.execute(f"UPDATE spending SET {sums} WHERE owner = ?", (*values, self._owner))  # noqa: S608

    @contextmanager
    def _own_row(self) -> Iterator[None]:
        """For one statement, which is a transaction in itself; the first one makes this object's row."""
        with self._lock, self._errors():
            if not self._has_row:
                self._connection.execute("INSERT INTO spending(owner, pid) VALUES (?, ?)", (self._owner, os.getpid()))
                self._has_row = True
            yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            fix = "free some space, or move the file away if it is damaged (what was spent is then forgotten)"
            raise DiskError(f"cannot be used as a ledger: {error}", where=str(self.ledger), fix=fix) from error


def _negative(amount: Reservation) -> Reservation:
    return Reservation(-amount.usd, -amount.tokens)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
