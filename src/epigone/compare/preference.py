"""Votes to preferences: one choice a voter and pair, one choice a pair, and the rates that are reported.

The paper's measure is the share of prompts whose student answer was rated equal to or better than the teacher's
(Appendix B); a judge sees every pair in both orders, and a verdict that flips with the order is a tie (Zheng 2023).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from epigone.compare.axes import preference_task
from epigone.records import Choice, ItemScore, Vote, VoterKind

__all__ = ["majority", "one_choice", "preference_scores"]


def majority(choices: Sequence[Choice]) -> Choice | None:
    """The choice named most often; a draw between the most frequent ones is a tie (so 1-1-1 is). None of none: None."""
    counts = Counter(choices).most_common()
    if not counts:
        return None
    if len(counts) > 1 and counts[0][1] == counts[1][1]:
        return "tie"
    return counts[0][0]


def one_choice(votes: Sequence[Vote]) -> Choice | None:
    """What one voter says of one pair. Shown in both orders: the common verdict, else a tie. Asked in both orders but
    answered in one only: missing (``None``), since the position may have decided. A failed vote is never a loss.
    """
    orders = {vote.first for vote in votes if vote.first is not None}
    answered = [vote for vote in votes if vote.status == "ok" and vote.choice is not None]
    if len(orders) == 2 and {vote.first for vote in answered} != orders:
        return None
    return majority([vote.choice for vote in answered if vote.choice is not None])


def preference_scores(votes: Iterable[Vote]) -> list[ItemScore]:
    """Item rows for the axes of :func:`epigone.compare.axes.preference_axes`, the judged model as ``model``.

    Each row holds ``equal_or_better`` (0, 1), ``win_rate`` (0, ½, 1), ``tie_share`` (0, 1) of the majority over
    voters; where a judge saw both orders also ``flip_share`` and ``first_position_share``, averaged over voters.
    """
    by_pair: dict[tuple[VoterKind, str, str], dict[str, list[Vote]]] = defaultdict(lambda: defaultdict(list))
    for vote in votes:
        by_pair[vote.kind, vote.student, vote.item][vote.voter].append(vote)
    voters_of_kind: dict[VoterKind, set[str]] = defaultdict(set)
    for (kind, _, _), ballots in by_pair.items():
        voters_of_kind[kind] |= ballots.keys()
    rows: list[ItemScore] = []
    for (kind, student, item), ballots in sorted(by_pair.items()):
        choices = {voter: one_choice(ballots[voter]) for voter in sorted(ballots)}
        given = [choice for choice in choices.values() if choice is not None]
        scores = _rates(majority(given))
        if kind != "person":
            scores |= _order_rates([ballots[voter] for voter in sorted(ballots)])
            if len(voters_of_kind[kind]) > 1:
                rows += [
                    _row(student, preference_task(kind, voter), item, _rates(choice))
                    for voter, choice in choices.items()
                ]
        rows.append(_row(student, preference_task(kind), item, scores))
    return rows


def _row(student: str, task: str, item: str, scores: dict[str, float]) -> ItemScore:
    return ItemScore(model=student, task=task, item=item, scores=scores, status="ok" if scores else "failed")


def _rates(choice: Choice | None) -> dict[str, float]:
    if choice is None:
        return {}
    return {
        "equal_or_better": float(choice != "teacher"),
        "win_rate": {"student": 1.0, "tie": 0.5, "teacher": 0.0}[choice],
        "tie_share": float(choice == "tie"),
    }


def _order_rates(ballots: Sequence[Sequence[Vote]]) -> dict[str, float]:
    """Over the voters who answered in both orders: how often the verdict flipped, how often the first one won."""
    flips: list[float] = []
    firsts: list[float] = []
    for votes in ballots:
        answered = [vote for vote in votes if vote.status == "ok" and vote.first is not None]
        if {vote.first for vote in answered} != {"student", "teacher"}:
            continue
        flips.append(float(len({vote.choice for vote in answered}) > 1))
        firsts.append(sum(vote.choice == vote.first for vote in answered) / len(answered))
    if not flips:
        return {}
    return {"flip_share": sum(flips) / len(flips), "first_position_share": sum(firsts) / len(firsts)}
