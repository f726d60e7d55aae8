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

LARGEST_LOGIT = 12.0  # σ(12) is 0.999994: where every item is a win there is no finite θ
STEPS = 25
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
    blocks = [_rates(wins, features, weights[i : i + rows], length) for i in range(0, len(weights), rows)]
    return np.concatenate(blocks)


def _rates(wins: FloatArray, features: FloatArray, weights: FloatArray, length: bool) -> FloatArray:
    """Newton's method on all R weighted regressions at once; designs are (k + 1, R, n) or (k + 1, 1, n)."""
    if length:
        design = np.stack([np.ones_like(weights), length_feature(features[:, 0], _spread(features[:, 0], weights))])
    else:
        spread = np.sqrt(np.mean(features**2, axis=0))
        scaled = np.divide(features, spread, out=np.zeros_like(features), where=spread > 0)
        design = np.concatenate([np.ones((1, len(wins))), scaled.T])[:, None, :]
    size = len(design)
    theta = np.zeros((len(weights), size))
    ridge = RIDGE * np.diag([0.0] + [1.0] * (size - 1))
    for _ in range(STEPS):
        chance = expit(sum(theta[:, j : j + 1] * design[j] for j in range(size)))  # (R, n)
        residual, curvature = weights * (wins - chance), weights * chance * (1 - chance)
        gradient = np.stack([(residual * design[j]).sum(axis=1) for j in range(size)], axis=1) - theta @ ridge
        hessian = np.empty((len(weights), size, size))
        for i in range(size):
            for j in range(i + 1):
                hessian[:, i, j] = hessian[:, j, i] = (curvature * design[i] * design[j]).sum(axis=1)
        hessian += ridge + 1e-9 * np.eye(size)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        theta = np.clip(theta + np.clip(step, -4, 4), -LARGEST_LOGIT, LARGEST_LOGIT)
        if np.abs(step).max() < 1e-9:
            break
    rate: FloatArray = expit(theta[:, 0])
    return rate


def _spread(delta: FloatArray, weights: FloatArray) -> FloatArray:
    """Standard deviation of Δlen under each row of weights, (R, 1)."""
    total = weights.sum(axis=1, keepdims=True)
    mean = (weights @ delta)[:, None] / total
    variance = (weights @ delta**2)[:, None] / total - mean**2
    spread: FloatArray = np.sqrt(np.maximum(variance, 0.0))
    return spread
