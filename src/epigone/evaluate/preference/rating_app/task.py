"""What a rater is shown next, and what becomes of a vote. Nothing here tells systems, or checks from pairs, apart."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Finished", "OnBreak", "Shown", "Step", "Task", "VoteOutcome", "Why"]

Shown = Literal["first", "second", "same"]
"""A choice as it looks on the page: the first output, the second, or neither."""

VoteOutcome = Literal["stored", "already", "too_soon", "expired", "closed", "not_yours"]
"""``already``: a vote on it is stored, nothing changed. ``expired``: its time passed and others have rated it since.
``not_yours``: the token is no task of this rater's."""


Why = Literal["done", "waiting", "closed", "not_qualified"]
"""Why there is nothing to rate. ``waiting``: what is left is in other raters' hands and may come back."""


class Task(Struct, frozen=True, kw_only=True):
    """Two outputs to compare.

    ``token`` stands for it in the form. ``done`` of about ``total`` tasks have this rater's vote. ``break_due``: now is
    a good moment to rest. ``wait_s``: seconds until a vote on it is accepted.
    """

    token: str
    prompt: str
    first: str
    second: str
    done: int
    total: int
    can_undo: bool = False
    break_due: bool = False
    wait_s: float = 0.0


class OnBreak(Struct, frozen=True, kw_only=True):
    """The rater rests; no time counts."""

    done: int
    total: int


class Finished(Struct, frozen=True, kw_only=True):
    """Nothing to rate now.

    ``code`` and ``return_url``: what the crowd platform wants of somebody who has rated; ``None`` where there is none.
    """

    why: Why
    done: int
    can_undo: bool
    code: str | None
    return_url: str | None


Step = Task | OnBreak | Finished
