"""The style classifier: can a model that sees style features alone tell the student's answers from the teacher's?

It is trained on some prompts and tested on others, so what it learns is a manner and not a topic: no feature names a
word of the answer. An AUC of 0.5 means that the two are indistinguishable by these features.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from epigone.evaluate.style.features import StyleFeatures, TokenCounter, style_features
from epigone.records import Estimate, Output

__all__ = ["StyleClassifier", "auc_interval", "classifier_auc"]

FloatArray = npt.NDArray[np.float64]

_FOLDS = 5
_FEWEST_PROMPTS = 20


class StyleClassifier(Struct, frozen=True, kw_only=True):
    """How well student and teacher can be told apart. ``auc``: 0.5 = not at all, 1 = always.

    ``telling``: each feature's AUC on its own (max of it and 1 − it), largest first: what gives the student away.
    """

    auc: Estimate
    telling: tuple[tuple[str, float], ...]


def classifier_auc(
    teacher: Sequence[Output],
    other: Sequence[Output],
    *,
    seed: int,
    confidence: float = 0.95,
    count_tokens: TokenCounter | None = None,
) -> StyleClassifier:
    """Cross-validated AUC of gradient-boosted trees on style features, teacher against ``other``.

    Five folds, grouped by prompt: a prompt's two answers are always tested together, never one trained on and one
    tested. Every pair of held-out scores is compared once. Only prompts that both have answered are used, the first
    sample of each. The interval is that of :func:`auc_interval`; it holds the prompts' sampling error, not that of
    drawing other training folds.
    """
    # Here, because every job that only wants style rows would otherwise wait two seconds for scikit-learn.
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import GroupKFold
    from threadpoolctl import threadpool_limits

    theirs, ours = _responses(teacher), _responses(other)
    items = [item for item in theirs if item in ours]
    total = len({output.id for output in teacher})
    if len(items) < _FEWEST_PROMPTS:
        why = f"not estimated: {len(items)} prompts with both answers, fewer than {_FEWEST_PROMPTS}"
        missing = Estimate(value=None, low=None, high=None, n_scored=len(items), n_total=total, method=why)
        return StyleClassifier(auc=missing, telling=())
    table = np.array(
        [_row(style_features(text, count_tokens)) for side in (theirs, ours) for text in (side[item] for item in items)]
    )
    n = len(items)
    label = np.repeat([0, 1], n)
    group = np.tile(np.arange(n), 2)
    scores = np.empty(2 * n)
    folds = GroupKFold(n_splits=_FOLDS, shuffle=True, random_state=seed)
    # One thread: on tables this small OpenMP's threads only wait for one another, minutes long on a busy machine.
    with threadpool_limits(1):
        for train, test in folds.split(table, label, group):
            trees = HistGradientBoostingClassifier(
                max_iter=80,
                learning_rate=0.1,
                max_leaf_nodes=8,
                min_samples_leaf=10,
                l2_regularization=1.0,
                random_state=seed,
            )
            scores[test] = trees.fit(table[train], label[train]).decision_function(table[test])
    auc, low, high = auc_interval(scores[n:], scores[:n], confidence)
    method = (
        f"AUC of gradient-boosted trees on {table.shape[1]} style features, {_FOLDS} folds grouped by prompt; "
        f"paired U-statistic, logit {confidence:.0%}"
    )
    names = StyleFeatures.__struct_fields__
    single = [(name, auc_interval(table[n:, k], table[:n, k])[0]) for k, name in enumerate(names)]
    telling = sorted(((name, max(value, 1 - value)) for name, value in single), key=lambda pair: (-pair[1], pair[0]))
    estimate = Estimate(value=auc, low=low, high=high, n_scored=n, n_total=total, method=method)
    return StyleClassifier(auc=estimate, telling=tuple(telling))


def auc_interval(
    positive: FloatArray, negative: FloatArray, confidence: float = 0.95
) -> tuple[float, float | None, float | None]:
    """AUC = P(positive > negative) + ½ P(equal) of paired scores, (n,) each, with its interval.

    Row i of both belongs to prompt i, so the two structural components of DeLong et al. (1988) are added within a
    prompt before their variance is taken (Obuchowski 1997 for clusters of one pair): SE² = Var(V₁ᵢ + V₀ᵢ)/n. The
    interval is symmetric on the logit scale; ``None`` where all pairs agree, for then the variance is unknown.
    """
    n = len(positive)
    above = _share_below(negative, positive)  # V₁: share of negatives below each positive, ties half
    below = 1 - _share_below(positive, negative)  # V₀: share of positives above each negative, ties half
    auc = float(above.mean())
    se = float(np.std(above + below, ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    if se == 0.0 or not 0 < auc < 1:
        return auc, None, None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre, half = np.log(auc / (1 - auc)), z * se / (auc * (1 - auc))
    low, high = 1 / (1 + np.exp(-(centre + np.array([-half, half]))))
    return auc, float(low), float(high)


def _share_below(values: FloatArray, thresholds: FloatArray) -> FloatArray:
    """For each threshold the share of ``values`` below it, equal ones counted half."""
    ordered = np.sort(values)
    counts = np.searchsorted(ordered, thresholds, "left") + np.searchsorted(ordered, thresholds, "right")
    share: FloatArray = counts / (2 * len(values))
    return share


def _responses(outputs: Sequence[Output]) -> dict[str, str]:
    """First answered sample of each item."""
    found: dict[str, tuple[int, str]] = {}
    for output in outputs:
        if output.response is not None and (output.id not in found or output.sample < found[output.id][0]):
            found[output.id] = (output.sample, output.response)
    return {item: text for item, (_, text) in found.items()}


def _row(features: StyleFeatures) -> list[float]:
    return [float(value) for value in msgspec.structs.astuple(features)]
