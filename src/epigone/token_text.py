"""Token and parameter counts as people write them: one spelling for names of arms, rules of findings and pages."""

from __future__ import annotations

__all__ = ["tokens_text"]

_UNITS = (("B", 10**9), ("M", 10**6), ("k", 10**3))


def tokens_text(tokens: int, *, digits: int = 6) -> str:
    """300000 as ``300k``, 20000000 as ``20M``, with at most ``digits`` significant digits.

    Six tell any two amounts of a study apart, for names; three read better on a page.
    """
    for unit, size in _UNITS:
        if tokens >= size:
            return f"{tokens / size:.{digits}g}{unit}"
    return str(tokens)
