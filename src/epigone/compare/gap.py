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

__all__ = ["FIRM_GAP", "FiellerSet", "fieller", "gap_closed", "ratio", "too_weak_to_average"]

FIRM_GAP = 2.0
"""An axis enters a mean of gaps closed only where its gap is at least this many times as far from 0 as its interval
reaches towards 0: Fieller's g = (t SE/gap)² is then at most 1/4, and no draw of the denominator comes near 0."""

_BEYOND = 1e6  # stands for an infinite ratio: a finite number, so that means and differences of draws stay numbers


def ratio(student: Draws, base: Draws, far: Draws, confidence: float) -> Draws | Undefined:
    """Gap closed draw by draw. ``far``: the teacher, or the ceiling. Undefined where far − base may be 0.

    A draw whose gap is 0 or has the other sign lies beyond infinity, on the side on which Fieller's inequality counts
    it (the sign of Δ_SB − g Δ_TB at the estimate g): as a quotient it would stand at the wrong end of the interval.
    """
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
    sign = np.sign(whole.value)
    estimate = (student.value - base.value) / whole.value

    def closed(s: FloatArray, b: FloatArray, t: FloatArray) -> FloatArray:
        gain, gap = sign * (s - b), sign * (t - b)
        quotient = np.divide(gain, gap, out=np.full(np.broadcast(gain, gap).shape, _BEYOND), where=gap > 0)
        beyond = np.where(gain >= estimate * gap, _BEYOND, -_BEYOND)
        return np.where(gap > 0, np.clip(quotient, -_BEYOND, _BEYOND), beyond)

    return combine([student, base, far], closed)


def too_weak_to_average(base: Draws, far: Draws, confidence: float) -> str | None:
    """Why this gap should enter no mean of gaps closed; ``None`` where it is firm (:data:`FIRM_GAP`).

    A mean of ratios is as unsteady as its least certain denominator. The rule looks at base and teacher alone, never at
    the student, so that it cannot favour what the student did.
    """
    value, low, high = difference(far, base).interval(confidence)
    if low is None or high is None:  # every item shows the same gap, or there is but one independent unit
        return None if value != 0 else "base and teacher do not differ on any item"
    reach = value - low if value > 0 else high - value
    if abs(value) >= FIRM_GAP * reach:
        return None
    return f"the gap, {value:.3g} [{low:.3g}, {high:.3g}], is less than {FIRM_GAP:g} times as large as its error"


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
