"""Gap closed: how far a student went from its base towards its teacher, (S̄ − B̄)/(T̄ − B̄).

For style the far end is not the teacher itself but a second sample of the teacher, measured against the first: nobody
can be closer to a teacher's answer than the teacher's next answer is. Formula and refusal are the same.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from epigone.compare.draws import Draws, Undefined, combine, difference, generator, resample_counts
from epigone.compare.intervals import FloatArray

__all__ = ["FiellerSet", "fieller", "gap_closed", "ratio"]


def ratio(student: Draws, base: Draws, far: Draws, confidence: float) -> Draws | Undefined:
    """Gap closed draw by draw. ``far``: the teacher, or the ceiling. Undefined where far − base may be 0."""
    whole = difference(far, base)
    low, high = whole.interval(confidence)[1:]
    shown = f"{whole.value:.3g}" + ("" if low is None or high is None else f" [{low:.3g}, {high:.3g}]")
    reason = None
    if whole.units < 2:
        reason = "no ratio: a single unit was resampled"
    elif (low is None or high is None) and whole.value == 0:
        reason = "no ratio: base and teacher do not differ on any item"
    elif low is not None and high is not None and low <= 0 <= high:
        reason = f"no ratio: the gap to be closed, {shown}, may be 0"
    if reason is not None:
        return Undefined(reason, student.n_scored, student.n_total)
    # The gap's interval excludes 0, so next to no draw has a gap of 0; one that has gives a huge, finite ratio.
    return combine([student, base, far], lambda s, b, t: (s - b) / np.where(t == b, 1e-12, t - b))


def gap_closed(
    base: FloatArray,
    student: FloatArray,
    teacher: FloatArray,
    *,
    seed: int,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Draws | Undefined:
    """Gap closed from the scores of the three on the same items, each (n,); items are resampled once for all three."""
    n = len(base)
    counts = resample_counts(n, resamples, generator(seed, "gap_closed")) / n
    parts = [Draws(float(x.mean()), counts @ x, n, n, n) for x in (student, base, teacher)]
    return ratio(parts[0], parts[1], parts[2], confidence)


class FiellerSet(NamedTuple):
    """All g that the data do not reject. ``between``: low ≤ g ≤ high; ``outside``: g ≤ low or g ≥ high;
    ``everything``: no g is rejected. Only ``between`` is an interval; the others mean that the denominator may be 0.
    """

    kind: Literal["between", "outside", "everything"]
    low: float | None
    high: float | None


def fieller(base: FloatArray, student: FloatArray, teacher: FloatArray, confidence: float = 0.95) -> FiellerSet:
    """{g : (Δ_SB − g Δ_TB)² ≤ t² Var(d_SB − g d_TB)/n} for per-item differences d, each (n,) (Fieller 1954).

    A quadratic a g² + b g + c ≤ 0; a > 0 exactly where Δ_TB differs from 0 at this confidence.
    """
    d_student, d_teacher = student - base, teacher - base
    n = len(base)
    covariance = np.cov(np.stack([d_student, d_teacher])) / n
    t2 = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) ** 2
    x, y = float(d_student.mean()), float(d_teacher.mean())
    a = y * y - t2 * float(covariance[1, 1])
    b = -2 * (x * y - t2 * float(covariance[0, 1]))
    c = x * x - t2 * float(covariance[0, 0])
    discriminant = b * b - 4 * a * c
    if discriminant < 0:
        return FiellerSet("everything", None, None)
    roots = sorted(((-b - np.sqrt(discriminant)) / (2 * a), (-b + np.sqrt(discriminant)) / (2 * a)))
    return FiellerSet("between" if a > 0 else "outside", float(roots[0]), float(roots[1]))
