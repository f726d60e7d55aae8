"""The last line of every measurement beside a peer."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def print_ratio(ours: Sequence[float], theirs: Sequence[float]) -> None:
    """``ratio: R (low-high)``: the peer's cost over ours, round by round; above 1 ours is the cheaper."""
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
