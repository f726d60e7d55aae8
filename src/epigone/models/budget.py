"""A hard limit on what may be spent: reserved before a request is sent, settled when its reply is known."""

from __future__ import annotations

import threading
from typing import Annotated

from msgspec import Struct
from pydantic import Field

from epigone.models.request_cache import Usage
from epigone.specs import Spec

__all__ = ["Budget", "BudgetSpec", "Reservation"]


class BudgetSpec(Spec):
    """What may be spent on API models in one study."""

    usd: Annotated[float, Field(gt=0)] | None = None
    """US dollars. ``None``: no limit."""

    tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens, prompts and replies together. ``None``: no limit."""


class Reservation(Struct, frozen=True):
    """The most that a request in flight may turn out to cost."""

    usd: float
    tokens: int


class Budget:
    """Counts what was spent and what is in flight; safe to share between threads.

    A request is sent only if the worst it can cost still fits, so the limit is never passed however uneven the
    replies are. An attempt whose end is unknown (time-out, dropped connection, unreadable reply) may have been billed:
    it stays counted at its worst, as ``unconfirmed``.

    Args:
        usd: limit in US dollars; ``None``: no limit.
        tokens: limit in tokens, prompts and replies together; ``None``: no limit.
        spent: what was paid before, such as ``cache.usage()``; ``None``: nothing.
    """

    def __init__(self, usd: float | None = None, tokens: int | None = None, *, spent: Usage | None = None) -> None:
        self.usd, self.tokens = usd, tokens
        self.spent_usd, self.spent_tokens = (spent.usd, spent.tokens) if spent is not None else (0.0, 0)
        self.unconfirmed_usd, self.unconfirmed_tokens = 0.0, 0
        self.held_usd, self.held_tokens = 0.0, 0
        self._lock = threading.Lock()

    def reserve(self, worst: Reservation) -> bool:
        """Set ``worst`` aside if it fits; ``False`` (and nothing set aside) if it does not."""
        with self._lock:
            usd = self.spent_usd + self.unconfirmed_usd + self.held_usd + worst.usd
            tokens = self.spent_tokens + self.unconfirmed_tokens + self.held_tokens + worst.tokens
            if (self.usd is not None and usd > self.usd) or (self.tokens is not None and tokens > self.tokens):
                return False
            self.held_usd += worst.usd
            self.held_tokens += worst.tokens
            return True

    def settle(self, worst: Reservation, *, usd: float, tokens: int) -> None:
        """Replace a reservation by what the reply really cost; 0 and 0 for an attempt that was not billed."""
        with self._lock:
            self._free(worst)
            self.spent_usd += usd
            self.spent_tokens += tokens

    def settle_unknown(self, worst: Reservation) -> None:
        """Keep a reservation counted: the attempt may have been billed and nobody can tell."""
        with self._lock:
            self._free(worst)
            self.unconfirmed_usd += worst.usd
            self.unconfirmed_tokens += worst.tokens

    def idle(self) -> bool:
        """Whether nothing is in flight, so that waiting cannot free anything."""
        with self._lock:
            return self.held_tokens == 0

    def describe(self) -> str:
        """What was spent of what, for an error message or a progress line."""
        parts = []
        if self.usd is not None:
            parts.append(f"${self.spent_usd + self.unconfirmed_usd:,.4f} of ${self.usd:,.2f}")
        if self.tokens is not None:
            parts.append(f"{self.spent_tokens + self.unconfirmed_tokens:,} of {self.tokens:,} tokens")
        if self.unconfirmed_tokens:
            parts.append(f"{self.unconfirmed_tokens:,} of these tokens in attempts whose end is unknown")
        return ", ".join(parts) or f"{self.spent_tokens:,} tokens, without a limit"

    def _free(self, worst: Reservation) -> None:
        self.held_usd = max(0.0, self.held_usd - worst.usd)
        self.held_tokens -= worst.tokens
