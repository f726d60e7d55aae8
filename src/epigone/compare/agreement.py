"""Do voters agree beyond chance: Krippendorff's α (Krippendorff 2011).

Categories stand in the order teacher, tie, student, so that the ordinal α counts teacher-against-student as the larger
disagreement.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from epigone.compare.intervals import FloatArray
from epigone.records import Choice

__all__ = ["CATEGORIES", "Level", "alpha_of_coincidences", "coincidences", "krippendorff_alpha"]

CATEGORIES: tuple[Choice, ...] = ("teacher", "tie", "student")

Level = Literal["nominal", "ordinal"]


def coincidences(counts: FloatArray) -> FloatArray:
    """Pairable values (n, k, k) of each item from how often it was put in each category, ``counts`` (n, k).

    o_ck = n_c (n_k − [c = k]) / (m − 1) for an item with m ratings; an item with fewer than two adds nothing
    (Krippendorff 2011, "Computing Krippendorff's alpha-reliability", step 2).
    """
    ratings = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs -= counts[:, :, None] * np.eye(counts.shape[1])
    return np.where(ratings[:, None, None] > 1, pairs / np.maximum(ratings - 1, 1)[:, None, None], 0.0)


def alpha_of_coincidences(observed: FloatArray, level: Level) -> FloatArray:
    """α = 1 − D_o/D_e from summed coincidences (…, k, k); NaN where all ratings fall in one category.

    Range: 1 is perfect agreement, 0 what chance gives, below 0 systematic disagreement. Ordinal distance of c ≤ k:
    (n_c/2 + n_{c+1} + … + n_{k−1} + n_k/2)², with the marginals n of these very ratings.
    """
    marginal = observed.sum(axis=-1)
    total = marginal.sum(axis=-1)
    below = np.cumsum(marginal, axis=-1) - marginal / 2
    if level == "ordinal":
        distance = (below[..., :, None] - below[..., None, :]) ** 2
    else:
        distance = np.broadcast_to(1.0 - np.eye(observed.shape[-1]), observed.shape)
    disagreement = (observed * distance).sum(axis=(-1, -2))
    expected = (marginal[..., :, None] * marginal[..., None, :] * distance).sum(axis=(-1, -2))
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha: FloatArray = np.where(expected > 0, 1 - (total - 1) * disagreement / expected, np.nan)
    return alpha


def krippendorff_alpha(counts: FloatArray, level: Level = "ordinal") -> float | None:
    """α from how often each item (n) was put in each of k ordered categories, ``counts`` (n, k).

    ``None`` where it is undefined: no item was rated twice, or all ratings agree on one category throughout.
    """
    alpha = float(alpha_of_coincidences(coincidences(counts).sum(axis=0), level))
    return None if np.isnan(alpha) else alpha
