"""Preference with length or style held equal: a logistic regression evaluated where the two answers do not differ.

Length-controlled (Dubois 2024, arXiv 2404.04475): logit P(student ≻ teacher) = θ + φ · tanh(Δlen / sd(Δlen)), Δlen in
characters, at Δlen = 0. Their term for the difficulty of AlpacaEval's own instructions is left out: it exists for these
only. Style-controlled (Arena, 2024): logit P = θ + βᵀx, x = (f_S − f_T)/(f_S + f_T + 1) for tokens, headers, list items
and bold, divided by their spread but **not centred**: the rate is read at equal style, x = 0, not at the average gap.
Both are σ(θ). Their intervals refit everything on every resample; AlpacaEval's own standard error is that of fitted
values, which is too small.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from epigone.compare.intervals import FloatArray

__all__ = ["controlled_rate", "length_feature", "relative_difference"]

RIDGE = 1e-3
"""Prior precision of the standardised slopes: far below what one item says, but keeps separable resamples finite."""

RIDGE_OF_LEVEL = 1e-6
"""Prior precision of θ itself: where every item is a win there is no finite θ, and σ(θ) is above 0.999999."""

STEPS = 200
SETTLED = 1e-9  # a change of θ smaller than this ends the search
BLOCK_CELLS = 2_000_000


def relative_difference(student: float, teacher: float) -> float:
    """(f_S − f_T)/(f_S + f_T + 1) of two counts, in (−1, 1)."""
    return (student - teacher) / (student + teacher + 1.0)


def length_feature(delta: FloatArray, spread: FloatArray) -> FloatArray:
    """tanh(Δlen/sd(Δlen)); 0 throughout where the lengths never differ. ``spread`` broadcasts against ``delta``."""
    return np.tanh(np.divide(delta, spread, out=np.zeros(np.broadcast(delta, spread).shape), where=spread > 0))


def controlled_rate(wins: FloatArray, features: FloatArray, weights: FloatArray, *, length: bool) -> FloatArray:
    """The student's win rate at equal features, one value (R,) for each row of ``weights`` (R, n).

    ``wins`` (n,): 1, ½ or 0 for win, tie, loss. ``features`` (n, k): for ``length`` one column Δlen, which passes
    through tanh with each resample's own spread; otherwise relative differences, divided by their spread.
    """
    rows = max(1, BLOCK_CELLS // max(1, len(wins)))
    usual = _fit(wins, features, weights.mean(axis=0, keepdims=True), length, start=None)
    blocks = [_fit(wins, features, weights[i : i + rows], length, start=usual) for i in range(0, len(weights), rows)]
    rate: FloatArray = expit(np.concatenate(blocks)[:, 0])
    return rate


def _fit(
    wins: FloatArray, features: FloatArray, weights: FloatArray, length: bool, *, start: FloatArray | None
) -> FloatArray:
    """θ (R, k + 1) by damped Newton steps on all R weighted regressions at once; rows that have settled drop out.

    All begin at ``start`` (1, k + 1), or at 0: the loss is strictly convex, so this only saves steps.
    A step that moves some item's logit by d is shortened to log(1 + d)/d of itself, which never overshoots on a
    logistic loss (Sun and Tran-Dinh 2019, generalised self-concordance with ν = 2): separable data converges too.
    """
    design = _length_design(features[:, 0], weights) if length else _style_design(features)
    size = design.shape[2]
    theta = np.zeros((len(weights), size)) if start is None else np.repeat(start, len(weights), axis=0)
    ridge = np.diag([RIDGE_OF_LEVEL] + [RIDGE] * (size - 1))
    moving = np.arange(len(weights))
    for _ in range(STEPS):
        x = design if len(design) == 1 else design[moving]  # (r, n, k + 1) or (1, n, k + 1)
        at, w = theta[moving], weights[moving]
        chance = expit(_times(x, at))  # (r, n)
        gradient = _sums(x, w * (wins - chance)) - at @ ridge
        hessian = _squares(x, w * chance * (1 - chance)) + ridge
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0].astype(np.float64, copy=False)
        moved = np.abs(_times(x, step)).max(axis=1, keepdims=True)
        shortened = np.where(moved > 0.1, np.log1p(moved) / np.maximum(moved, 0.1), 1.0)
        theta[moving] = at + shortened * step
        moving = moving[np.abs(step).max(axis=1) > SETTLED]
        if not len(moving):
            break
    return theta


def _length_design(delta: FloatArray, weights: FloatArray) -> FloatArray:
    """(R, n, 2): each resample scales the lengths by its own spread."""
    return np.stack([np.ones_like(weights), length_feature(delta, _spread(delta, weights))], axis=2)


def _style_design(features: FloatArray) -> FloatArray:
    """(1, n, k + 1): the same for every resample."""
    spread = np.sqrt(np.mean(features**2, axis=0))
    scaled = np.divide(features, spread, out=np.zeros_like(features), where=spread > 0)
    return np.concatenate([np.ones((len(features), 1)), scaled], axis=1)[None]


def _times(design: FloatArray, theta: FloatArray) -> FloatArray:
    """Logits (r, n). A design that all rows share is one matrix product."""
    logits: FloatArray = theta @ design[0].T if len(design) == 1 else np.matmul(design, theta[:, :, None])[:, :, 0]
    return logits


def _sums(design: FloatArray, values: FloatArray) -> FloatArray:
    """Σ_i values_i x_i, (r, k + 1)."""
    sums: FloatArray = values @ design[0] if len(design) == 1 else np.matmul(values[:, None, :], design)[:, 0]
    return sums


def _squares(design: FloatArray, values: FloatArray) -> FloatArray:
    """Σ_i values_i x_i x_iᵀ, (r, k + 1, k + 1)."""
    size = design.shape[2]
    if len(design) == 1:
        outer = (design[0][:, :, None] * design[0][:, None, :]).reshape(-1, size * size)
        shared: FloatArray = (values @ outer).reshape(-1, size, size)
        return shared
    squares: FloatArray = np.matmul(design.transpose(0, 2, 1), values[:, :, None] * design)
    return squares


def _spread(delta: FloatArray, weights: FloatArray) -> FloatArray:
    """Standard deviation of Δlen under each row of weights, (R, 1)."""
    total = weights.sum(axis=1, keepdims=True)
    mean = (weights @ delta)[:, None] / total
    variance = (weights @ delta**2)[:, None] / total - mean**2
    spread: FloatArray = np.sqrt(np.maximum(variance, 0.0))
    return spread
