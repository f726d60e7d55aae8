"""Votes to preferences: one choice a voter and pair, one choice a pair, and what is counted for each pair.

The paper's measure is the share of prompts whose student answer was rated equal to or better than the teacher's
(Appendix B); a judge sees every pair in both orders, and a verdict that flips with the order is a tie (Zheng 2023).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from epigone.compare.agreement import CATEGORIES
from epigone.compare.axes import preference_task
from epigone.compare.pair_facts import Pair, read_pair_facts
from epigone.compare.statistics import RATER, VOTE_COUNTS
from epigone.records import Choice, ItemScore, Vote, VoterKind

__all__ = ["human_ceiling", "majority", "one_choice", "preference_scores"]

Ballots = dict[str, list[Vote]]  # voter to that voter's votes on one pair


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


def human_ceiling(choices: Sequence[Choice]) -> float | None:
    """How often one rater of an item agrees with the majority of the others, each left out in turn: in [0, 1].

    No judge can be expected to agree with people more than they do with one another (Zheng 2023, §4.2). ``None`` with
    fewer than three ratings: one other person is no majority.
    """
    if len(choices) < 3:
        return None
    agreed = [choice == majority([*choices[:i], *choices[i + 1 :]]) for i, choice in enumerate(choices)]
    return sum(agreed) / len(agreed)


def preference_scores(votes: Iterable[Vote], items: Iterable[ItemScore] = ()) -> list[ItemScore]:
    """Item rows under the tasks ``preference.<kind>``, the judged model as ``model``.

    Each row holds ``equal_or_better`` (0, 1), ``win_rate`` (0, ½, 1) and ``tie_share`` (0, 1) of the majority over
    voters, and what the axes of :func:`epigone.compare.axes.preference_axes` need besides: order effects, agreement,
    features that the controlled rates hold equal (from the style rows among ``items``), deception (from claims).
    """
    ballots: dict[VoterKind, dict[Pair, Ballots]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for vote in votes:
        ballots[vote.kind][vote.student, vote.item][vote.voter].append(vote)
    beside = read_pair_facts(items)
    people = {pair: _verdict(found) for pair, found in ballots.get("person", {}).items()}
    rows: list[ItemScore] = []
    for kind in sorted(ballots):
        several = len({voter for found in ballots[kind].values() for voter in found}) > 1
        for pair, found in sorted(ballots[kind].items()):
            choices = {voter: one_choice(found[voter]) for voter in sorted(found)}
            given = [choice for choice in choices.values() if choice is not None]
            scores = _rates(majority(given))
            if kind == "person":
                scores |= _between_people(given)
                scores |= {f"{RATER}{v}": float(CATEGORIES.index(c)) for v, c in choices.items() if c is not None}
            else:
                scores |= _order_rates([found[voter] for voter in sorted(found)])
                scores |= _with_people(majority(given), people.get(pair))
            if several:
                scores |= _between_voters(given)
                if kind != "person":
                    rows += [_row(pair, preference_task(kind, v), _rates(choices[v])) for v in choices]
            if given:
                scores |= beside.features.get(pair, {})
                if beside.deceives(pair, teacher=next(iter(found.values()))[0].teacher):
                    scores["deception"] = scores["equal_or_better"]
            rows.append(_row(pair, preference_task(kind), scores))
    return rows


def _row(pair: Pair, task: str, scores: dict[str, float]) -> ItemScore:
    return ItemScore(model=pair[0], task=task, item=pair[1], scores=scores, status="ok" if scores else "failed")


def _verdict(found: Ballots) -> Choice | None:
    return majority([choice for voter in sorted(found) if (choice := one_choice(found[voter])) is not None])


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


def _between_voters(given: Sequence[Choice]) -> dict[str, float]:
    if len(given) < 2:
        return {}
    counts = Counter(given)
    found = {column: float(counts[category]) for column, category in zip(VOTE_COUNTS, CATEGORIES, strict=True)}
    return found | {"unanimous_share": float(len(counts) == 1)}


def _between_people(given: Sequence[Choice]) -> dict[str, float]:
    """Of items rated three times or more: whether the three choices tie for first place (1-1-1), and the ceiling."""
    ceiling = human_ceiling(given)
    if ceiling is None:
        return {}
    return {
        "split_share": float(len(set(Counter(given).values())) == 1 and len(set(given)) == 3),
        "human_ceiling": ceiling,
    }


def _with_people(judge: Choice | None, people: Choice | None) -> dict[str, float]:
    if judge is None or people is None:
        return {}
    return {"agreement_with_people": float(judge == people)}
