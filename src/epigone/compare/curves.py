"""Along the amount of data: the slope against its logarithm, and when a curve may be called flat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from epigone.compare.draws import Draws, combine

__all__ = ["Equivalence", "equivalence", "slope_per_doubling"]


def slope_per_doubling(amounts: Sequence[int], levels: Sequence[Draws]) -> Draws:
    """Least-squares slope of level against log2(amount): by how much one doubling of the data changes it.

    ``levels``: one estimate an amount, on the same resampled items.

    Raises:
        ValueError: fewer than two different amounts, or an amount that is not positive.
    """
    if len(set(amounts)) < 2 or min(amounts) <= 0:
        raise ValueError("a slope needs two different positive amounts")
    x = np.log2(np.asarray(amounts, dtype=float))
    weights = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    return combine(levels, lambda *y: sum(w * v for w, v in zip(weights.tolist(), y, strict=True)))


class Equivalence(NamedTuple):
    """``p_value`` of the two one-sided tests together; ``equivalent``: whether it is at most the level."""

    p_value: float
    equivalent: bool


def equivalence(quantity: Draws, margin: float, level: float = 0.05) -> Equivalence:
    """TOST (Schuirmann 1987): is |quantity| < ``margin``? Both "≤ −margin" and "≥ margin" have to be rejected.

    A difference that is not significant is no evidence of flatness; this is. p is the larger of the two p-values.

    Raises:
        ValueError: a margin that is not positive.
    """
    if margin <= 0:
        raise ValueError("the margin has to be positive")
    p = max(quantity.p_not_above(-margin), quantity.p_not_below(margin))
    return Equivalence(p, p <= level)
