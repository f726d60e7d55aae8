"""Whether a process is still at work, told by more than its number: numbers are given again, and the dead keep theirs
until somebody has looked at them."""

from __future__ import annotations

import psutil

__all__ = ["is_running"]

_CLOCK_S = 5.0
"""How far a process's start may seem to move when the system's clock is set."""


def is_running(pid: int, since: float | None = None) -> bool:
    """Whether process ``pid`` of this machine runs, and started at ``since`` (seconds since 1970) if that is given."""
    try:
        process = psutil.Process(pid)
        started, state = process.create_time(), process.status()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    return state != psutil.STATUS_ZOMBIE and (since is None or abs(started - since) < _CLOCK_S)
