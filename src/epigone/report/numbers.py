"""Estimates as people read them: a number, its interval, how much was scored, or why there is none."""

from __future__ import annotations

from epigone.records import Estimate

__all__ = ["interval_text", "number_text", "share_text", "tokens_text"]


def number_text(value: float | None, unit: str) -> str:
    """A value in its axis's unit: shares in per cent, everything else with two decimals; ``–`` where there is none."""
    if value is None:
        return "–"
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:.2f}".replace("-", "−")


def interval_text(estimate: Estimate, unit: str) -> str:
    """``low to high`` in the same form; empty where there is no interval."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return ""
    if unit == "share":
        return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}".replace("-", "−")
    return f"{estimate.low:.2f} to {estimate.high:.2f}".replace("-", "−")


def share_text(value: float | None) -> str:
    """A share of a gap, in whole per cent; it can be negative or above 100."""
    return "no estimate" if value is None else f"{100 * value:.0f} %".replace("-", "−")


def tokens_text(tokens: int | None) -> str:
    """360000 as ``360k``, 20000000 as ``20M``."""
    if tokens is None:
        return ""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if tokens >= size:
            return f"{tokens / size:.3g}{unit}"
    return str(tokens)
