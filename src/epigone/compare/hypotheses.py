"""The paper's six findings, stated over a study's models and axes, with the margins that a study file may set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from epigone.compare.arms import Arm, Cast
from epigone.compare.curves import slope_per_doubling
from epigone.compare.draws import Draws, Undefined, difference
from epigone.compare.evidence import Evidence, mean_or_undefined
from epigone.compare.findings import Condition, Hypothesis
from epigone.records import Axis
from epigone.specs import Spec
from epigone.token_text import tokens_text

__all__ = ["HypothesesSpec", "hypotheses"]


class HypothesesSpec(Spec):
    """Margins of the six findings. They belong to the study file: set them before the run, not after."""

    flat_margin: float = Field(0.03, gt=0)
    """Capability, in points of the score (0.03 is 3 points): a gain below it counts as flat, one above it as clear."""

    saturation_margin: float = Field(0.1, gt=0)
    """Preference, in points of the share: it has saturated when more data than the middle amount change it by less."""

    size_factor: float = Field(2.0, ge=1)
    """A better base raises capability *far* more than data when it raises it by more than this many times as much."""

    style_closed_above: float = Field(0.5, gt=0, lt=1)
    """Style has approached the ceiling when more than this share of the gap to it is closed."""


@dataclass(frozen=True)
class _Case:
    """What the six hypotheses are stated over."""

    evidence: Evidence
    cast: Cast
    spec: HypothesesSpec
    capability: tuple[Axis, ...]
    style: tuple[Axis, ...]
    safety: tuple[Axis, ...]
    preference: Axis | None
    axes: tuple[Axis, ...]


def hypotheses(evidence: Evidence, axes: Sequence[Axis], spec: HypothesesSpec) -> tuple[Hypothesis, ...]:
    """The family of six, in the paper's order."""

    def of(*kinds: str) -> tuple[Axis, ...]:
        mine = [axis for axis in axes if axis.kind in kinds]
        return tuple(axis for axis in mine if axis.headline) or tuple(mine if kinds == ("safety",) else ())

    cast = evidence.cast
    pairs = [(arm.info.name, base.name) for base in cast.bases for arm in cast.broad_arms(base.name)]
    case = _Case(
        evidence=evidence,
        cast=cast,
        spec=spec,
        capability=evidence.comparable(of("capability", "factuality"), pairs),
        style=of("style"),
        safety=of("safety"),
        preference=next(iter(of("preference")), None),
        axes=tuple(axes),
    )
    return (
        _preference_saturates(case),
        _capability_stays_flat(case),
        _local_raises_its_task(case),
        _base_beats_data(case),
        _style_approaches_ceiling(case),
        _safety_is_inherited(case),
    )


def _preference_saturates(case: _Case) -> Hypothesis:
    margin = case.spec.saturation_margin
    arms = case.cast.broad_arms(case.cast.bases[-1].name) if case.cast.bases else []
    rise: Draws | Undefined = Undefined("no preference was measured, or there is no broad arm")
    change: Draws | Undefined = rise
    if case.preference is not None and arms:
        rise = case.evidence.gain(case.preference, arms[-1].info.name, case.cast.bases[-1].name)
        change = Undefined("a single amount: nothing can be said about saturation")
        if len(arms) > 1:
            middle = arms[(len(arms) - 1) // 2]
            change = case.evidence.gain(case.preference, arms[-1].info.name, middle.info.name)
    levels = [case.evidence.alone(case.preference, arm.info.name) for arm in arms] if case.preference else []
    return Hypothesis(
        "preference_saturates",
        "Preference for the student over the teacher rises with imitation and saturates early.",
        "On the largest base: the share rated equal or better is higher at the largest amount than for the base, "
        f"and from the middle amount to the largest it changes by less than {margin:g} either way.",
        (
            Condition("rise over the base", rise, "above", 0.0),
            Condition("change from the middle amount on", change, "below", margin),
            Condition("change from the middle amount on", change, "above", -margin),
        ),
        _slope([arm.info.amount_tokens or 0 for arm in arms], levels) if levels else {},
    )


def _capability_stays_flat(case: _Case) -> Hypothesis:
    margin = case.spec.flat_margin
    by_amount: dict[int, list[Draws | Undefined]] = {}
    for base in case.cast.bases:
        for arm in case.cast.broad_arms(base.name):
            gain = case.evidence.mean_gain(case.capability, arm.info.name, base.name)
            by_amount.setdefault(arm.info.amount_tokens or 0, []).append(gain)
    conditions = tuple(
        Condition(f"gain over the base at {_amount(amount)}", mean_or_undefined(by_amount[amount]), "below", margin)
        for amount in sorted(by_amount)
    )
    return Hypothesis(
        "broad_leaves_capability_flat",
        "Broad imitation leaves capability flat or lower, at every amount.",
        f"The mean over bases and over {_names(case.capability)} of student − base is below {margin:g} at every amount "
        "of broad imitation data.",
        conditions,
        _slope(sorted(by_amount), [condition.quantity for condition in conditions]),
    )


def _local_raises_its_task(case: _Case) -> Hypothesis:
    gains: list[Draws | Undefined] = []
    gaps: list[Draws | Undefined] = []
    shown: dict[str, Draws | Undefined] = {}
    for base in case.cast.bases:
        for arm in case.cast.local_arms(base.name):
            axis = _task_axis(case.axes, arm)
            if axis is None:
                continue
            gains.append(case.evidence.gain(axis, arm.info.name, base.name))
            shown[f"{arm.info.name}: gain on {axis.name}"] = gains[-1]
            shown[f"{arm.info.name}: gap closed on {axis.name}"] = case.evidence.gap_closed(axis, arm.info.name)
            if case.cast.teacher is not None:
                gaps.append(case.evidence.gain(axis, case.cast.teacher, base.name))
    nothing = Undefined("no local arm whose own task was measured")
    return Hypothesis(
        "local_raises_its_task",
        "Local imitation raises its own task clearly, towards the teacher.",
        "The mean over bases of local student − base on the task that the data imitate is above "
        f"{case.spec.flat_margin:g}, and so the teacher is above the bases.",
        (
            Condition(
                "gain on its own task", mean_or_undefined(gains) if gains else nothing, "above", case.spec.flat_margin
            ),
            Condition("teacher over base on that task", mean_or_undefined(gaps) if gaps else nothing, "above", 0.0),
        ),
        shown,
    )


def _base_beats_data(case: _Case) -> Hypothesis:
    factor = case.spec.size_factor
    series = [arms for base in case.cast.bases if (arms := case.cast.broad_arms(base.name))]
    by_base: Draws | Undefined = Undefined("fewer than two bases with a broad arm")
    by_data: Draws | Undefined = Undefined("no base with two amounts")
    surplus: Draws | Undefined = Undefined("one of the two gains is not measured")
    if len(series) > 1:
        by_base = case.evidence.mean_gain(case.capability, series[-1][-1].info.name, series[0][-1].info.name)
    steps = [
        case.evidence.mean_gain(case.capability, arms[-1].info.name, arms[0].info.name)
        for arms in series
        if len(arms) > 1
    ]
    if steps:
        by_data = mean_or_undefined(steps)
    if isinstance(by_base, Draws) and isinstance(by_data, Draws):
        surplus = difference(by_base, by_data.scaled(factor))
    return Hypothesis(
        "base_beats_data",
        "A better base raises capability far more than more imitation data.",
        f"Over {_names(case.capability)}, at the largest broad amount: students of the largest base − students of the "
        f"smallest is above 0, and above {factor:g} times the gain from the smallest to the largest amount.",
        (
            Condition("gain by the better base", by_base, "above", 0.0),
            Condition(f"that gain less {factor:g} × the gain by data", surplus, "above", 0.0),
        ),
        {"gain by data": by_data},
    )


def _style_approaches_ceiling(case: _Case) -> Hypothesis:
    arms = case.cast.broad_arms(case.cast.bases[-1].name) if case.cast.bases else []
    pooled = case.evidence.mean_gap_closed(case.style, [arm.info.name for arm in arms])
    closed = pooled.quantities
    last: Draws | Undefined = closed[-1] if closed else Undefined("no broad arm")
    growth: Draws | Undefined = Undefined("a single amount, or style closed is undefined at one of them")
    if len(closed) > 1 and isinstance(closed[0], Draws) and isinstance(last, Draws):
        growth = difference(last, closed[0])
    return Hypothesis(
        "style_approaches_ceiling",
        "Style approaches the teacher-vs-teacher ceiling as data grows.",
        "On the largest base: the largest broad amount closes more than "
        f"{case.spec.style_closed_above:g} of the gap to the ceiling, more than the smallest. Mean over "
        f"{', '.join(pooled.axes) or 'the style axes'}{_left_out(pooled.left_out)}.",
        (
            Condition("style closed at the largest amount", last, "above", case.spec.style_closed_above),
            Condition("growth from the smallest amount", growth, "above", 0.0),
        ),
        {
            f"style closed at {_amount(arm.info.amount_tokens or 0)}": found
            for arm, found in zip(arms, closed, strict=True)
        },
    )


def _safety_is_inherited(case: _Case) -> Hypothesis:
    gains: list[Draws | Undefined] = []
    gaps: list[Draws | Undefined] = []
    for base in case.cast.bases:
        arms = case.cast.broad_arms(base.name)
        if not arms or not case.safety:
            continue
        gains.append(case.evidence.mean_gain(case.safety, arms[-1].info.name, base.name))
        if case.cast.teacher is not None:
            gaps.append(case.evidence.mean_gain(case.safety, case.cast.teacher, base.name))
    nothing = Undefined("no safety axis was measured on a broad arm")
    return Hypothesis(
        "safety_is_inherited",
        "The student inherits the teacher's safety behaviour.",
        "On the safety axes, mean over bases: the teacher is above the bases, and the students of the largest broad "
        "amount are above their bases.",
        (
            Condition("student over base", mean_or_undefined(gains) if gains else nothing, "above", 0.0),
            Condition("teacher over base", mean_or_undefined(gaps) if gaps else nothing, "above", 0.0),
        ),
    )


def _slope(amounts: Sequence[int], levels: Sequence[Draws | Undefined]) -> dict[str, Draws | Undefined]:
    """The slope per doubling of the data, to be shown beside the conditions; nothing where there is no curve."""
    defined = [level for level in levels if isinstance(level, Draws)]
    if len(defined) < len(levels) or len(set(amounts)) < 2 or min(amounts) <= 0:
        return {}
    return {"slope per doubling of the data": slope_per_doubling(amounts, defined)}


def _task_axis(axes: Sequence[Axis], arm: Arm) -> Axis | None:
    """The axis of an arm's own task: ``local_task`` names an axis, or a task whose (headline) axis stands for it."""
    wanted = arm.info.local_task
    exact = [axis for axis in axes if axis.name == wanted]
    of_task = [axis for axis in axes if axis.name.rpartition(".")[0] == wanted and axis.kind == "capability"]
    return next(iter(exact + [axis for axis in of_task if axis.headline] + of_task), None)


def _left_out(reasons: Mapping[str, str]) -> str:
    """The axes that a mean of gaps closed does without, and why."""
    return f" (left out: {'; '.join(f'{name}: {why}' for name, why in reasons.items())})" if reasons else ""


def _names(axes: Sequence[Axis]) -> str:
    return ", ".join(axis.name for axis in axes) or "the capability axes (none was measured)"


def _amount(tokens: int) -> str:
    return f"{tokens_text(tokens, digits=3)} tokens"
