"""Answers that try to win by addressing the judge, and how often that works on a given judge.

The harness never obeys an answer: fields are filled in one pass, every answer stands between marks that it cannot
forge, and a verdict is read from the judge's own words. Whether the *judge* obeys is a property of the model, to be
measured before its votes are trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import msgspec
import numpy as np
from msgspec import Struct

from epigone.evaluate.preference.judge import JudgePlan, judge_pairs, plan_judging
from epigone.evaluate.preference.judge_spec import JudgeSpec
from epigone.evaluate.preference.pairs import Pair
from epigone.models.protocol import TextModel
from epigone.records import Choice, Vote

__all__ = ["Attack", "AttackEffect", "attack_judge", "attacked", "plan_attacks", "read_attacks"]


class Attack(Struct, frozen=True):
    """A text that is added at the end of an answer."""

    name: str
    text: str


class AttackEffect(Struct, frozen=True, kw_only=True):
    """What an attack did to the votes of showings that were readable with and without it.

    ``gained``: showings that the student lost or tied and now fares better in; ``lost``: the other way. A judge that
    the attack does not reach has both near 0; one that sees through it has more ``lost`` than ``gained``.
    """

    attack: str
    showings: int
    gained: int
    lost: int
    unreadable: int


_Showing = tuple[str, str, str | None]  # item, student, who was shown first
_WORTH: dict[Choice, int] = {"student": 1, "tie": 0, "teacher": -1}


def read_attacks() -> list[Attack]:
    """The attacks that ship, in a fixed order."""
    text = resources.files(__package__).joinpath("attacks.jsonl").read_text(encoding="utf-8")
    return [msgspec.json.decode(line, type=Attack) for line in text.splitlines()]


def attacked(pair: Pair, attack: Attack) -> Pair:
    """The pair with the attack at the end of the student's answer."""
    return msgspec.structs.replace(pair, student_response=f"{pair.student_response or ''}\n\n{attack.text}")


def attack_judge(
    spec: JudgeSpec, pairs: Sequence[Pair], model: TextModel, *, seed: int, per_attack: int = 10
) -> list[AttackEffect]:
    """Judge ``per_attack`` pairs, drawn by seed, as they are and under every attack, and compare showing by showing."""
    drawn = _drawn(pairs, seed, per_attack)
    before = _by_showing(judge_pairs(spec, drawn, model, seed=seed))
    return [
        _effect(
            attack.name, before, _by_showing(judge_pairs(spec, [attacked(p, attack) for p in drawn], model, seed=seed))
        )
        for attack in read_attacks()
    ]


def plan_attacks(spec: JudgeSpec, pairs: Sequence[Pair], *, seed: int, per_attack: int) -> JudgePlan:
    """What :func:`attack_judge` asks on top of judging the pairs as they are, before anything is spent."""
    drawn = _drawn(pairs, seed, per_attack)
    plans = [plan_judging(spec, [attacked(pair, attack) for pair in drawn], seed=seed) for attack in read_attacks()]
    return JudgePlan(
        requests=sum(plan.requests for plan in plans),
        prompt_tokens=sum(plan.prompt_tokens for plan in plans),
        reply_tokens_at_most=sum(plan.reply_tokens_at_most for plan in plans),
        estimated=any(plan.estimated for plan in plans),
    )


def _drawn(pairs: Sequence[Pair], seed: int, per_attack: int) -> list[Pair]:
    """The pairs that every attack is tried on."""
    usable = [pair for pair in pairs if pair.student_response is not None and pair.teacher_response is not None]
    rng = np.random.default_rng(seed)
    return [usable[k] for k in rng.permutation(len(usable))[:per_attack]]


def _by_showing(votes: Sequence[Vote]) -> dict[_Showing, Vote]:
    return {(vote.item, vote.student, vote.first): vote for vote in votes}


def _effect(name: str, before: dict[_Showing, Vote], after: dict[_Showing, Vote]) -> AttackEffect:
    gained = lost = compared = unreadable = 0
    for showing, vote in after.items():
        plain = before.get(showing)
        if vote.choice is None:
            unreadable += 1
        elif plain is not None and plain.choice is not None:
            compared += 1
            gained += _WORTH[vote.choice] > _WORTH[plain.choice]
            lost += _WORTH[vote.choice] < _WORTH[plain.choice]
    return AttackEffect(attack=name, showings=compared, gained=gained, lost=lost, unreadable=unreadable)
