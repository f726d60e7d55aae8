"""How people differ: each rater against the others' majority, and outcomes from item to item."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

import numpy as np
from msgspec import Struct

from epigone.compare.preference import majority
from epigone.records import Choice, Vote

__all__ = ["OutcomeSpread", "RaterAgreement", "outcome_spread", "rater_agreement"]


class OutcomeSpread(Struct, frozen=True, kw_only=True):
    """Of one student's majority outcomes, 1 where it was rated equal or better, else 0: their number, their standard
    deviation (n − 1 below) and the standard error of their mean. ``None`` with fewer than two."""

    n: int
    sd: float | None
    se: float | None


class RaterAgreement(Struct, frozen=True, kw_only=True):
    """One rater: ``votes`` given; on ``compared`` of their pairs at least two others voted, and in ``agreement`` of
    those, a share, the rater chose what the others' majority did. ``median_s``: of the seconds on a pair."""

    rater: str
    votes: int
    compared: int
    agreement: float | None
    median_s: float | None


def outcome_spread(votes: Iterable[Vote]) -> dict[str, OutcomeSpread]:
    """For each student how much its outcomes differ from item to item (the paper gives one standard deviation)."""
    outcomes: dict[str, list[float]] = defaultdict(list)
    for (student, _), choices in _people_on_pairs(votes).items():
        outcomes[student].append(float(majority(list(choices.values())) != "teacher"))
    found = {}
    for student, values in sorted(outcomes.items()):
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        se = None if sd is None else sd / len(values) ** 0.5
        found[student] = OutcomeSpread(n=len(values), sd=sd, se=se)
    return found


def rater_agreement(votes: Iterable[Vote]) -> list[RaterAgreement]:
    """Each rater against the majority of the others, and how quick; by name."""
    votes = [vote for vote in votes if vote.kind == "person"]
    agreed: dict[str, list[bool]] = defaultdict(list)
    for choices in _people_on_pairs(votes).values():
        for rater, choice in choices.items():
            others = [other for name, other in choices.items() if name != rater]
            if len(others) > 1:
                agreed[rater].append(choice == majority(others))
    mine: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        mine[vote.voter].append(vote)
    return [
        RaterAgreement(
            rater=rater,
            votes=len(given),
            compared=len(agreed[rater]),
            agreement=sum(agreed[rater]) / len(agreed[rater]) if agreed[rater] else None,
            median_s=median(times) if (times := [v.seconds for v in given if v.seconds is not None]) else None,
        )
        for rater, given in sorted(mine.items())
    ]


def _people_on_pairs(votes: Iterable[Vote]) -> dict[tuple[str, str], dict[str, Choice]]:
    """Pair (student, item) to what each person chose."""
    found: dict[tuple[str, str], dict[str, Choice]] = defaultdict(dict)
    for vote in votes:
        if vote.kind == "person" and vote.choice is not None:
            found[vote.student, vote.item][vote.voter] = vote.choice
    return found
