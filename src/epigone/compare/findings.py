"""Hypotheses with rules that are fixed before the run, and how they are judged together.

A finding is a conjunction of conditions "quantity above (below) threshold". It is *supported* when all of them are
shown (intersection–union: its p-value is the largest of theirs), *not supported* when at least one is shown to be
false (smallest p-value of the reverses, Bonferroni over them), and *undecided* otherwise: absence of proof is no proof
of absence. Both kinds of p-value are corrected over the six by Holm; the level is one-sided, (1 − confidence)/2, so
that a condition decided alone agrees with its two-sided interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from epigone.compare.draws import Draws, Undefined
from epigone.compare.estimates import from_draws
from epigone.compare.family import holm
from epigone.records import Estimate, Finding

__all__ = ["Condition", "Hypothesis", "judge_findings"]


@dataclass(frozen=True)
class Condition:
    """One part of a rule: ``quantity`` lies above (below) ``threshold``."""

    name: str
    quantity: Draws | Undefined
    side: Literal["above", "below"]
    threshold: float

    def p_value(self) -> float | None:
        """One-sided p-value against the condition being false; ``None`` where the quantity is undefined."""
        if isinstance(self.quantity, Undefined):
            return None
        above, below = self.quantity.p_not_above(self.threshold), self.quantity.p_not_below(self.threshold)
        return above if self.side == "above" else below

    def p_reverse(self) -> float | None:
        """One-sided p-value against the condition being true."""
        if isinstance(self.quantity, Undefined):
            return None
        above, below = self.quantity.p_not_above(self.threshold), self.quantity.p_not_below(self.threshold)
        return below if self.side == "above" else above


@dataclass(frozen=True)
class Hypothesis:
    """A finding before it is judged. ``shown`` are further quantities that stand beside the conditions' own."""

    key: str
    text: str
    rule: str
    conditions: tuple[Condition, ...]
    shown: dict[str, Draws | Undefined] = field(default_factory=dict)

    def p_supported(self) -> float:
        """Intersection–union: the largest p-value of the conditions; 1 where one cannot be tested, or none is there."""
        found = [condition.p_value() for condition in self.conditions]
        return max((1.0 if p is None else p for p in found), default=1.0)

    def p_refuted(self) -> float:
        """Bonferroni over the reverses: the smallest p-value times their number, at most 1."""
        found = [p for condition in self.conditions if (p := condition.p_reverse()) is not None]
        return min(1.0, len(found) * min(found)) if found else 1.0


def judge_findings(family: Sequence[Hypothesis], confidence: float) -> tuple[Finding, ...]:
    """Holm over the family, in both directions; the verdict, and every quantity with its interval."""
    level = (1 - confidence) / 2
    supported = holm({hypothesis.key: hypothesis.p_supported() for hypothesis in family})
    refuted = holm({hypothesis.key: hypothesis.p_refuted() for hypothesis in family})
    findings: list[Finding] = []
    for hypothesis in family:
        verdict: Literal["supported", "not_supported", "undecided"] = "undecided"
        if supported[hypothesis.key] <= level:
            verdict = "supported"
        elif refuted[hypothesis.key] <= level:
            verdict = "not_supported"
        quantities = {condition.name: condition.quantity for condition in hypothesis.conditions} | hypothesis.shown
        estimates = {name: from_draws(found, confidence, name) for name, found in quantities.items()}
        holm_p = f"Holm-adjusted p: {supported[hypothesis.key]:.3g} for, {refuted[hypothesis.key]:.3g} against"
        findings.append(
            Finding(
                key=hypothesis.key,
                hypothesis=hypothesis.text,
                rule=hypothesis.rule,
                verdict=verdict,
                evidence=(*(_sentence(c, estimates[c.name]) for c in hypothesis.conditions), holm_p),
                estimates=estimates,
            )
        )
    return tuple(findings)


def _sentence(condition: Condition, estimate: Estimate) -> str:
    sign = ">" if condition.side == "above" else "<"
    wanted = f"{condition.name}: wanted {sign} {condition.threshold:g}"
    if estimate.value is None:
        return f"{wanted}; {estimate.method}"
    interval = "" if estimate.low is None else f" [{estimate.low:.3g}, {estimate.high:.3g}]"
    return f"{wanted}; {estimate.value:.3g}{interval}, p = {condition.p_value():.2g}"
