"""Many tests at once: Holm's step-down correction over a family named before the run (Holm 1979)."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["holm"]


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values: the i-th smallest of m becomes max over j ≤ i of (m − j + 1) p_(j), at most 1.

    Reject where the adjusted value is ≤ α; the chance of any false rejection in the family is then ≤ α.
    """
    adjusted: dict[str, float] = {}
    running = 0.0
    for rank, key in enumerate(sorted(p_values, key=lambda key: (p_values[key], key))):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[key]))
        adjusted[key] = running
    return adjusted
