"""From all that was measured to ``results.json``: estimates, differences, gaps closed, the headline, the findings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from epigone.compare.arms import Arm, Cast
from epigone.compare.axes import preference_axes
from epigone.compare.draws import Draws, Undefined, difference
from epigone.compare.estimates import closed_form, from_draws
from epigone.compare.evidence import Evidence
from epigone.compare.findings import judge_findings
from epigone.compare.gain_by_support import gain_by_support
from epigone.compare.hypotheses import HypothesesSpec, hypotheses
from epigone.compare.intervals import mean_interval, wilson
from epigone.compare.measurements import Measurements
from epigone.compare.paired import mcnemar, paired_difference
from epigone.compare.preference import preference_scores
from epigone.compare.scores import read_tables
from epigone.compare.statistics import statistic_of
from epigone.errors import DataError
from epigone.records import Axis, Estimate, Results
from epigone.specs import Spec

__all__ = ["RESULTS_FORMAT", "CompareSpec", "compare"]

RESULTS_FORMAT = 1
_RANGES = {"share": (0.0, 1.0), "r": (-1.0, 1.0)}  # an interval of a level does not leave the level's range


class CompareSpec(Spec):
    """How estimates are made."""

    resamples: int = Field(2000, ge=100)
    """Bootstrap resamples, of the items and (nested) of the seeds."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence of every interval; findings are tested one-sided at (1 − confidence)/2."""

    hypotheses: HypothesesSpec = HypothesesSpec()
    """Margins of the six findings."""


def compare(measured: Measurements, spec: CompareSpec = CompareSpec(), *, seed: int) -> Results:
    """Every estimate of a study. The same measurements in any order, and the same seed, give the same results.

    Seeds of one arm are pooled into an entry of its own, beside the single models. Preference axes follow from the
    votes; those that ``measured.axes`` does not name are added.

    Raises:
        DataError: rows of an unknown model, a row twice, two teachers, a student whose base is missing.
    """
    cast = Cast(measured.models)
    _check_models(measured, cast)
    named = {axis.name for axis in measured.axes}
    axes = measured.axes + tuple(
        axis for axis in preference_axes(measured.votes, measured.items) if axis.name not in named
    )
    rows = [*measured.items, *preference_scores(measured.votes, measured.items)]
    tables = read_tables(rows, seed=seed, resamples=spec.resamples)
    evidence = Evidence(cast, tables, seed=seed, resamples=spec.resamples, confidence=spec.confidence)
    work = _Comparison(evidence, cast, axes, spec.confidence)
    pooled = tuple(arm.info for arm in cast.arms if len(arm.members) > 1)
    everyone = measured.models + pooled
    students = tuple(model for model in everyone if model.role == "student")
    headline_arms = cast.largest_broad_arms()
    family = hypotheses(evidence, axes, spec.hypotheses)
    headline, headline_over = work.headline(headline_arms)
    return Results(
        format=RESULTS_FORMAT,
        confidence=spec.confidence,
        study=measured.study,
        seed=seed,
        models=everyone,
        axes=axes,
        estimates={model.name: work.estimates(model.name) for model in everyone},
        difference={model.name: work.differences(model.name) for model in students},
        gap_closed={model.name: work.gaps_closed(model.name) for model in students},
        headline=headline,
        headline_over=headline_over,
        headline_models=tuple(arm.info.name for arm in headline_arms),
        findings=judge_findings(family, spec.confidence),
        notes=_notes(cast, axes),
        gain_by_support=gain_by_support(measured.support, evidence, axes),
    )


def _check_models(measured: Measurements, cast: Cast) -> None:
    known = {model.name for model in cast.models}
    used = {row.model for row in measured.items} | {vote.student for vote in measured.votes}
    unknown = sorted(used - known)
    if unknown:
        fix = f"add it to the models, or remove its rows; known: {', '.join(sorted(known))}"
        raise DataError("scores of a model that is not listed", where=f"model '{unknown[0]}'", fix=fix)


class _Comparison:
    """Turns evidence into estimates: closed forms for single models, the joint bootstrap for all else."""

    def __init__(self, evidence: Evidence, cast: Cast, axes: Sequence[Axis], confidence: float) -> None:
        self.evidence, self.cast, self.axes, self.confidence = evidence, cast, axes, confidence

    def estimates(self, name: str) -> dict[str, Estimate]:
        """Axis to estimate, for the axes on which ``name`` was asked anything."""
        found: dict[str, Estimate] = {}
        for axis in self.axes:
            if self.evidence.measured(axis, name):
                found[axis.name] = self._level(axis, name, self.evidence.alone(axis, name))
        return found

    def differences(self, student: str) -> dict[str, Estimate]:
        """Axis to student − base, paired."""
        base = self.cast.base_of(student)
        if base is None:
            return {}
        found: dict[str, Estimate] = {}
        for axis in self.axes:
            if self.evidence.measured(axis, student) and self.evidence.measured(axis, base):
                found[axis.name] = self._paired(axis, student, base, self.evidence.difference(axis, student, base))
        return found

    def gaps_closed(self, student: str) -> dict[str, Estimate]:
        """Axis to (S − B)/(T − B), or the reason why there is no ratio."""
        return {
            axis.name: from_draws(
                self.evidence.gap_closed(axis, student), self.confidence, "(S − B)/(T − B), items resampled jointly"
            )
            for axis in self.axes
            if self.evidence.measured(axis, student)
        }

    def headline(self, arms: Sequence[Arm]) -> tuple[dict[str, Estimate], dict[str, tuple[str, ...]]]:
        """``style_closed``, ``capability_closed``, ``style_minus_capability`` of the first arm, ``…@arm`` of others;
        and of each of the two means the axes that it is taken over."""
        found: dict[str, Estimate] = {}
        over: dict[str, tuple[str, ...]] = {}
        for number, arm in enumerate(arms):
            suffix = "" if number == 0 else f"@{arm.info.name}"
            means: list[Draws | Undefined] = []
            for key, kinds in (("style_closed", ("style",)), ("capability_closed", ("capability", "factuality"))):
                mean, method, over[key + suffix] = self._closed(arm, kinds)
                found[key + suffix] = from_draws(mean, self.confidence, method)
                means.append(mean)
            style, capability = means
            both: Draws | Undefined = Undefined("one of the two is undefined")
            if isinstance(style, Draws) and isinstance(capability, Draws):
                both = difference(style, capability)
            method = "style closed − capability closed"
            found[f"style_minus_capability{suffix}"] = from_draws(both, self.confidence, method)
        return found, over

    def _closed(self, arm: Arm, kinds: tuple[str, ...]) -> tuple[Draws | Undefined, str, tuple[str, ...]]:
        """Mean gap closed over the headline axes of ``kinds`` whose gap is firm; the method names those left out."""
        axes = [axis for axis in self.axes if axis.headline and axis.kind in kinds]
        if not axes:
            return Undefined(f"no headline axis of kind {kinds[0]}"), "", ()
        closed = self.evidence.mean_gap_closed(axes, [arm.info.name])
        left_out = "; ".join(f"{name}: {reason}" for name, reason in closed.left_out.items())
        method = f"mean gap closed over {', '.join(closed.axes)}"
        return closed.quantities[0], method + (f" (left out: {left_out})" if left_out else ""), closed.axes

    def _level(self, axis: Axis, name: str, draws: Draws | Undefined) -> Estimate:
        single = self.evidence.paired_values(axis, [name])
        if isinstance(draws, Undefined) or single is None:
            return from_draws(draws, self.confidence, statistic_of(axis.name).what, _RANGES.get(axis.unit))
        (values,), clusters = single
        if clusters is None and np.isin(values, (0.0, 1.0)).all():
            interval = wilson(int(values.sum()), len(values), self.confidence)
            return closed_form(interval, draws, f"share; Wilson {self.confidence:.0%}")
        interval = mean_interval(values, clusters, self.confidence)
        method = f"mean; {self._t(draws, clusters is not None)}"
        return closed_form(interval, draws, method, within=_RANGES.get(axis.unit))

    def _paired(self, axis: Axis, student: str, base: str, draws: Draws | Undefined) -> Estimate:
        both = self.evidence.paired_values(axis, [student, base])
        if isinstance(draws, Undefined) or both is None:
            return from_draws(draws, self.confidence, "paired difference to the base")
        (ours, theirs), clusters = both
        interval = paired_difference(ours, theirs, clusters, self.confidence)
        method = (
            f"paired difference to the base; {self._t(draws, clusters is not None)}; one seed: its variance unknown"
        )
        if clusters is None and np.isin([ours, theirs], (0.0, 1.0)).all():
            method += f"; McNemar p {mcnemar(ours, theirs).p_value:.2g}"
        return closed_form(interval, draws, method)

    def _t(self, draws: Draws, clustered: bool) -> str:
        return f"t {self.confidence:.0%}" + (f", {draws.units} clusters" if clustered else "")


def _notes(cast: Cast, axes: Sequence[Axis]) -> tuple[str, ...]:
    """What a reader of the numbers has to know."""
    notes: list[str] = []
    single = [arm.info.name for arm in cast.arms if len(arm.members) == 1]
    if single:
        notes.append(f"one training seed each, so that their intervals hold items only: {', '.join(single)}")
    if cast.ceiling is None and any(axis.kind == "style" for axis in axes):
        notes.append("no second teacher sample: the style ceiling is unknown, and with it style closed")
    if cast.teacher is None:
        notes.append("no teacher among the models: gaps cannot be closed")
    return tuple(notes)
