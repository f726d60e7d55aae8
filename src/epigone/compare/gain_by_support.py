"""Who gains and who regresses: whether imitation changes an item's score the more, the more its data supports the item.

For each arm and each axis that is a mean over items: Spearman's rank correlation, over the items, of student − base
(better positive, the mean over the arm's seeds) with the support that the arm's imitation data gives the item. 0:
support makes no difference; positive: items near the training queries gain more, or lose less. The paper says that
imitation improves what its data heavily supports (section 1) and shows it with two data sets; item by item it is our
own measure. Ranks are those of all items, held fixed in the resamples; so are the seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import rankdata

from epigone.compare.arms import Arm
from epigone.compare.axes import split_axis
from epigone.compare.draws import Draws, Undefined
from epigone.compare.estimates import from_draws
from epigone.compare.evidence import LEAST_ITEMS, Evidence
from epigone.compare.statistics import correlation, statistic_of
from epigone.records import Axis, Estimate, ItemSupport

__all__ = ["gain_by_support"]

_WHAT = "Spearman's r over items: student − base, better positive, with support by the imitation data; seeds held fixed"

_Support = dict[tuple[str, str], dict[str, float]]  # (data, task) to item to support


def gain_by_support(
    support: Iterable[ItemSupport], evidence: Evidence, axes: Sequence[Axis]
) -> dict[str, dict[str, Estimate]]:
    """Arm to axis to correlation, for the arms and axes of which both a base and support are known."""
    known: _Support = defaultdict(dict)
    for record in support:
        known[record.data, record.task][record.item] = record.value
    found: dict[str, dict[str, Estimate]] = {}
    for arm in evidence.cast.arms:
        of_arm = {
            axis.name: from_draws(_correlated(evidence, arm, axis, values), evidence.confidence, _WHAT, (-1.0, 1.0))
            for axis in axes
            if statistic_of(axis.name).is_mean
            and (values := known.get((arm.info.data or "", split_axis(axis.name)[0])))
            and evidence.cast.base_of(arm.info.name) is not None
            and split_axis(axis.name)[0] in evidence.tables
        }
        if of_arm:
            found[arm.info.name] = of_arm
    return found


def _correlated(evidence: Evidence, arm: Arm, axis: Axis, values: dict[str, float]) -> Draws | Undefined:
    task, metric = split_axis(axis.name)
    table, base = evidence.tables[task], evidence.cast.base_of(arm.info.name)
    assert base is not None, "asked for arms with a base only"
    sign = 1.0 if axis.higher_is_better else -1.0
    students = np.mean([table.column(member, metric) for member in arm.members], axis=0)
    gain = sign * (students - table.column(base, metric))
    near = np.array([values.get(item, np.nan) for item in table.items])
    mask = ~np.isnan(gain) & ~np.isnan(near)
    if mask.sum() < LEAST_ITEMS:
        reason = f"only {int(mask.sum())} items have scores and support"
        return Undefined(reason, int(mask.sum()), table.n_total(arm.members[0]))
    ranks = {}
    for name, column in (("gain", gain), ("support", near)):
        ranks[arm.info.name, name] = np.full(len(table.items), np.nan)
        ranks[arm.info.name, name][mask] = rankdata(column[mask])
    asked = table.asked[arm.members[0]]
    ranked = replace(table, columns=ranks, asked={arm.info.name: asked})
    return correlation(ranked, arm.info.name, mask, "gain", "support")
