"""How a campaign stands: what is done, who rates how, which raters get a flag. Who is winning is not among it: an
organiser who watches the result can stop at a convenient moment."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from epigone.evaluate.preference.rating_app.cast_votes import CheckAnswer, checks_answered, pseudonym, votes_cast
from epigone.evaluate.preference.rating_app.rules import RatingRules
from epigone.evaluate.preference.rating_app.tables import AssignmentRow, PairRow, RaterRow, SettingRow
from epigone.records import Choice, Vote

__all__ = ["LiveFigures", "Progress", "RaterFigures", "count_progress", "live_figures"]

_VOTES_FOR_SIDE = 10
"""Votes for one of the sides from which a rater's leaning to one of them is judged."""


class Progress(Struct, frozen=True, kw_only=True):
    """Where a campaign stands. ``votes`` of ``wanted``; ``complete`` pairs have all their ratings; ``open`` are kept
    for somebody now. Checks are not counted."""

    pairs: int
    complete: int
    votes: int
    wanted: int
    raters: int
    open: int
    closed: bool


class RaterFigures(Struct, frozen=True, kw_only=True):
    """One rater. ``checks``: right/shown. ``median_s``: of the time on a pair. ``agreement``: of the votes that others
    gave on the same pairs, the share that chose alike. ``qualified``: ``None`` without a qualification answered.
    ``last_vote_at``: seconds since 1970."""

    rater: str
    votes: int
    checks: str
    median_s: float | None
    agreement: float | None
    flags: tuple[str, ...]
    qualified: bool | None
    last_vote_at: float | None


class LiveFigures(Struct, frozen=True, kw_only=True):
    """:class:`Progress`, and: ``unanimous`` and ``split`` (1-1-1) shares of complete pairs, each rater."""

    pairs: int
    complete: int
    votes: int
    wanted: int
    raters: int
    open: int
    closed: bool
    votes_by_student: dict[str, int]
    unanimous: float | None
    split: float | None
    people: tuple[RaterFigures, ...]


def count_progress(session: Session, rules: RatingRules) -> Progress:
    """Counts that are quick to get."""
    voted = (
        select(AssignmentRow.pair_id, func.count().label("votes"))
        .join(PairRow, PairRow.id == AssignmentRow.pair_id)
        .where(PairRow.kind == "pair", AssignmentRow.choice.is_not(None))
        .group_by(AssignmentRow.pair_id)
        .subquery()
    )
    pairs = session.scalar(select(func.count(PairRow.id)).where(PairRow.kind == "pair")) or 0
    taken = session.scalar(select(func.sum(PairRow.taken)).where(PairRow.kind == "pair")) or 0
    votes = session.scalar(select(func.sum(voted.c.votes))) or 0
    return Progress(
        pairs=pairs,
        complete=session.scalar(select(func.count()).where(voted.c.votes >= rules.ratings)) or 0,
        votes=int(votes),
        wanted=pairs * rules.ratings,
        raters=session.scalar(select(func.count(RaterRow.id))) or 0,
        open=int(taken) - int(votes),
        closed=session.get(SettingRow, "closed_at") is not None,
    )


def live_figures(session: Session, rules: RatingRules, salt: str) -> LiveFigures:
    """All figures, from every vote: some milliseconds a thousand votes."""
    progress = count_progress(session, rules)
    votes, checks = votes_cast(session, salt), checks_answered(session, salt)
    by_pair: dict[tuple[str, str], list[Vote]] = defaultdict(list)
    for vote in votes:
        by_pair[vote.item, vote.student].append(vote)
    complete = [Counter(v.choice for v in found) for found in by_pair.values() if len(found) >= rules.ratings]
    last = select(RaterRow.id, func.max(AssignmentRow.voted_at)).outerjoin(AssignmentRow).group_by(RaterRow.id)
    return LiveFigures(
        **{name: getattr(progress, name) for name in progress.__struct_fields__},
        votes_by_student=dict(sorted(Counter(vote.student for vote in votes).items())),
        unanimous=sum(len(c) == 1 for c in complete) / len(complete) if complete and rules.ratings > 1 else None,
        split=sum(len(c) == 3 and len(set(c.values())) == 1 for c in complete) / len(complete)
        if complete and rules.ratings > 2
        else None,
        people=_people(rules, votes, checks, by_pair, {pseudonym(salt, n): at for n, at in session.execute(last)}),
    )


def _people(
    rules: RatingRules,
    votes: Sequence[Vote],
    checks: Sequence[CheckAnswer],
    by_pair: Mapping[tuple[str, str], Sequence[Vote]],
    last_votes: Mapping[str, float | None],
) -> tuple[RaterFigures, ...]:
    votes_of: dict[str, list[Vote]] = defaultdict(list)
    checks_of: dict[str, list[CheckAnswer]] = defaultdict(list)
    for vote in votes:
        votes_of[vote.voter].append(vote)
    for answer in checks:
        checks_of[answer.voter].append(answer)
    return tuple(
        RaterFigures(
            rater=rater,
            votes=len(votes_of[rater]),
            checks=f"{sum(answer.right for answer in checks_of[rater])}/{len(checks_of[rater])}",
            median_s=_median_seconds(votes_of[rater]),
            agreement=_agreement(votes_of[rater], by_pair),
            flags=_flags(rules, votes_of[rater], checks_of[rater]),
            qualified=_qualified(rules, checks_of[rater]),
            last_vote_at=last,
        )
        for rater, last in last_votes.items()
    )


def _flags(rules: RatingRules, votes: Sequence[Vote], checks: Sequence[CheckAnswer]) -> tuple[str, ...]:
    gold = [answer.right for answer in checks if answer.kind == "gold"]
    missed = sum(not answer.right for answer in checks if answer.kind == "attention")
    sides = [vote.choice == vote.first for vote in votes if vote.choice != "tie"]
    speed = _median_seconds(votes)
    found = {
        "gold": bool(gold) and sum(gold) < rules.gold_flag_below * len(gold),
        "attention": missed >= rules.attention_flag_from,
        "fast": speed is not None and speed < rules.fast_flag_below_s,
        "one_side": len(sides) >= _VOTES_FOR_SIDE
        and max(sum(sides), len(sides) - sum(sides)) > rules.side_flag_above * len(sides),
    }
    return tuple(name for name, is_so in found.items() if is_so)


def _qualified(rules: RatingRules, checks: Sequence[CheckAnswer]) -> bool | None:
    answers = [answer.right for answer in checks if answer.kind == "qualification"]
    return sum(answers) >= rules.qualification_share * len(answers) if answers else None


def _agreement(votes: Sequence[Vote], by_pair: Mapping[tuple[str, str], Sequence[Vote]]) -> float | None:
    alike: list[bool] = []
    for vote in votes:
        others: list[Choice | None] = [v.choice for v in by_pair[vote.item, vote.student] if v.voter != vote.voter]
        alike += [choice == vote.choice for choice in others]
    return sum(alike) / len(alike) if alike else None


def _median_seconds(votes: Sequence[Vote]) -> float | None:
    return median(vote.seconds or 0.0 for vote in votes) if votes else None
