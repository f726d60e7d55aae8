"""How fast an endpoint may be asked: what the user states, and what its 429 replies teach."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from email.utils import parsedate_to_datetime

__all__ = ["Pace", "backoff_s", "retry_after_s"]

_FEWEST = 1.0
_COOL_S = 1.0
_LONGEST_PAUSE_S = 600.0


class Pace:
    """Lets attempts through: at most so many at once, at most so many requests and tokens a minute.

    The number at once starts at ``most``, is halved by a 429 (at most once a second) and grows by one with every full
    round of successes: additive increase, multiplicative decrease, as TCP does it.

    Args:
        most: attempts in flight at most.
        requests_per_minute: ``None``: no stated limit.
        tokens_per_minute: ``None``: no stated limit.
    """

    def __init__(self, most: int, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self.limit, self._most = float(most), float(most)
        self._requests_per_minute, self._tokens_per_minute = requests_per_minute, tokens_per_minute
        self._in_use = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._not_before = 0.0
        self._next_request = self._next_tokens = 0.0
        self._slowed_at = float("-inf")

    async def enter(self, tokens: int) -> None:
        """Wait until an attempt of up to ``tokens`` tokens may be sent."""
        while self._in_use >= int(self.limit):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self._in_use += 1
        start = self._book(tokens)
        while (pause := max(start, self._not_before) - time.monotonic()) > 0:
            await asyncio.sleep(pause)

    def _book(self, tokens: int) -> float:
        """Take the next free moment under the stated rates (seconds of the monotonic clock)."""
        start = max(time.monotonic(), self._next_request, self._next_tokens)
        if self._requests_per_minute is not None:
            self._next_request = start + 60.0 / self._requests_per_minute
        if self._tokens_per_minute is not None:
            self._next_tokens = start + 60.0 * tokens / self._tokens_per_minute
        return start

    def leave(self) -> None:
        """An attempt is over, however it ended."""
        self._in_use -= 1
        self._wake()

    def succeeded(self) -> None:
        """The endpoint answered: dare a little more."""
        self.limit = min(self._most, self.limit + 1.0 / self.limit)
        self._wake()

    def slow_down(self, pause_s: float | None) -> None:
        """The endpoint said 429; ``pause_s`` is what its Retry-After header asks for."""
        now = time.monotonic()
        if now - self._slowed_at >= _COOL_S:
            self._slowed_at = now
            self.limit = max(_FEWEST, self.limit / 2)
        if pause_s is not None:
            self._not_before = max(self._not_before, now + min(pause_s, _LONGEST_PAUSE_S))

    def _wake(self) -> None:
        free = int(self.limit) - self._in_use
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1


def retry_after_s(headers: dict[str, str]) -> float | None:
    """Seconds that a Retry-After header asks to wait (``retry-after-ms``, a number of seconds, or a date)."""
    milliseconds, value = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds is not None:
            return max(0.0, float(milliseconds) / 1000)
        if value is None:
            return None
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value or "").timestamp() - time.time())
    except ValueError:
        return None


def backoff_s(attempt: int, digest: str) -> float:
    """Seconds to wait after the ``attempt``-th failure: 0.25, 0.5, 1 … 20, spread by a quarter either way."""
    spread = int(digest[:4] or "0", 16) / 0xFFFF
    return float(min(20.0, 0.25 * 2.0 ** (attempt - 1)) * (0.75 + 0.5 * spread))
