"""What leaves a campaign: votes and answers to checks, raters by pseudonym; and forgetting a rater."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from msgspec import Struct
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from epigone.evaluate.preference.rating_app.database import one_at_a_time
from epigone.evaluate.preference.rating_app.hand_out import change_taken
from epigone.evaluate.preference.rating_app.tables import AssignmentRow, PairRow, RaterRow
from epigone.records import Choice, Vote

__all__ = ["CheckAnswer", "CrowdRater", "checks_answered", "delete_rater", "pseudonym", "votes_cast"]


class CheckAnswer(Struct, frozen=True, kw_only=True):
    """A rater's answer to an item whose better output is known. ``right``: that one was chosen."""

    voter: str
    item: str
    kind: str
    right: bool
    seconds: float


class CrowdRater(Struct, frozen=True, kw_only=True):
    """Whom a pseudonym stands for on the crowd platform."""

    crowd_id: str
    rater: str


def votes_cast(session: Session, salt: str) -> list[Vote]:
    """Every vote on a pair, in the order in which they were handed out."""
    return [
        Vote(
            item=pair.item,
            student=pair.student,
            teacher=pair.teacher,
            voter=pseudonym(salt, row.rater_id),
            kind="person",
            choice=_meant(row, row.choice),
            first="student" if row.student_first else "teacher",
            seconds=round(row.seconds, 1),
            reason=row.reason,
            marks={criterion: _meant(row, shown) for criterion, shown in json.loads(row.marks or "{}").items()},
            facts_checked=row.facts_checked,
        )
        for row, pair in _voted(session)
        if pair.kind == "pair"
    ]


def checks_answered(session: Session, salt: str) -> list[CheckAnswer]:
    """Every answer to a check item, in the order in which they were handed out."""
    return [
        CheckAnswer(
            voter=pseudonym(salt, row.rater_id),
            item=pair.item,
            kind=pair.kind,
            right=_meant(row, row.choice) == "teacher",
            seconds=round(row.seconds, 1),
        )
        for row, pair in _voted(session)
        if pair.kind != "pair"
    ]


def delete_rater(session: Session, salt: str, who: str) -> int | None:
    """Remove a rater, by pseudonym or crowd id, and all that they did. How many votes; ``None``: no such rater."""
    raters = session.execute(select(RaterRow.id, RaterRow.external))
    numbers = [number for number, external in raters if who in (external, pseudonym(salt, number))]
    if not numbers:
        return None
    mine = AssignmentRow.rater_id == numbers[0]
    session.execute(select(RaterRow).where(RaterRow.id == numbers[0]).with_for_update())
    one_at_a_time(session)
    rows = session.scalars(select(AssignmentRow).where(mine)).all()
    for row in rows:
        if not row.released:
            change_taken(session, row.pair_id, -1, row.student_first)
    session.execute(delete(AssignmentRow).where(mine))
    session.execute(delete(RaterRow).where(RaterRow.id == numbers[0]))
    return sum(row.choice is not None for row in rows)


def pseudonym(salt: str, rater: int) -> str:
    """What a rater is called outside: without the campaign's salt it leads back to nobody."""
    return f"rater-{hashlib.sha256(f'{salt}:{rater}'.encode()).hexdigest()[:12]}"


def _voted(session: Session) -> list[tuple[AssignmentRow, PairRow]]:
    query = (
        select(AssignmentRow, PairRow)
        .join(PairRow, PairRow.id == AssignmentRow.pair_id)
        .where(AssignmentRow.choice.is_not(None))
        .order_by(AssignmentRow.id)
    )
    return [(row, pair) for row, pair in session.execute(query)]


def _meant(row: AssignmentRow, shown: Any) -> Choice:
    """Which system a choice on the page was for."""
    if shown == "same":
        return "tie"
    return "student" if (shown == "first") == row.student_first else "teacher"
