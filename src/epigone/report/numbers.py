"""Estimates as people read them: a number, its interval, how much was scored, or why there is none.

Formats carry ``z``: what rounds to zero has no sign.
"""

from __future__ import annotations

import re

from epigone.records import Estimate
from epigone.token_text import tokens_text as spelled

__all__ = ["interval_text", "number_text", "share_text", "tokens_text", "with_minus_signs"]

_HYPHEN_FOR_MINUS = re.compile(r"(?<![\w.–-])-(?=\d)")


def with_minus_signs(text: str) -> str:
    """Sentences of ``results.json`` write −0.11 with a hyphen; on the page every number has the same sign."""
    return _HYPHEN_FOR_MINUS.sub("−", text)


def number_text(value: float | None, unit: str) -> str:
    """A value in its axis's unit: shares in per cent, everything else with two decimals; ``–`` where there is none."""
    if value is None:
        return "–"
    if unit == "share":
        return f"{100 * value:z.1f} %".replace("-", "−")
    return f"{value:z.2f}".replace("-", "−")


def interval_text(estimate: Estimate, unit: str) -> str:
    """``low to high`` in the same form; empty where there is no interval."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return ""
    if unit == "share":
        return f"{100 * estimate.low:z.1f} to {100 * estimate.high:z.1f}".replace("-", "−")
    return f"{estimate.low:z.2f} to {estimate.high:z.2f}".replace("-", "−")


def share_text(value: float | None) -> str:
    """A share of a gap, in whole per cent; it can be negative or above 100."""
    return "no estimate" if value is None else f"{100 * value:z.0f} %".replace("-", "−")


def tokens_text(tokens: int | None) -> str:
    """360000 as ``360k``, 20000000 as ``20M``; nothing where it is not known."""
    return "" if tokens is None else spelled(tokens, digits=3)
