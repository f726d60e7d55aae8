"""Which pair a rater gets next, and which side is the student's.

The pair with the fewest ratings, then of the student that this rater has seen least, then in an order of the rater's
own. Sides: each pair shows its student first and second equally often, give or take one; where a pair stands even, the
rater's own balance decides; where that stands even too, chance.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, cast

from sqlalchemy import BigInteger, CursorResult, Executable, Row, Select, and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from epigone.evaluate.preference.rating_app.checks import checks_due, draw, tasks_with_checks
from epigone.evaluate.preference.rating_app.database import one_at_a_time
from epigone.evaluate.preference.rating_app.rules import RatingRules
from epigone.evaluate.preference.rating_app.tables import AssignmentRow, PairRow, RaterRow

__all__ = ["HandOut", "Mine", "change_taken", "release_expired"]

_CANDIDATES = 16
_PRIME = 2**31 - 1


class Mine(NamedTuple):
    """One of a rater's assignments, as far as the next one depends on it."""

    id: int
    pair_id: int
    kind: str
    student_first: bool
    choice: str | None
    released: bool


_MINE = (
    select(
        AssignmentRow.id,
        AssignmentRow.pair_id,
        PairRow.kind,
        AssignmentRow.student_first,
        AssignmentRow.choice,
        AssignmentRow.released,
    )
    .join(PairRow, PairRow.id == AssignmentRow.pair_id)
    .where(AssignmentRow.rater_id == bindparam("rater"))
    .order_by(AssignmentRow.id)
)

# Made once and given their values when they run: building a statement costs more than running it.


def _fresh(query: Select[*tuple[Any, ...]], repeat_prompts: bool) -> Select[*tuple[Any, ...]]:
    """Pairs that ``rater`` has not had, nor, unless prompts may come back, another pair of their prompt."""
    had = select(AssignmentRow.pair_id).where(AssignmentRow.rater_id == bindparam("rater"))
    query = query.where(PairRow.kind == "pair", PairRow.id.not_in(had))
    if not repeat_prompts:
        query = query.where(PairRow.item.not_in(select(PairRow.item).where(PairRow.id.in_(had))))
    return query


@cache
def _free(repeat_prompts: bool) -> Select[*tuple[Any, ...]]:
    counted = PairRow.id if repeat_prompts else PairRow.item.distinct()
    return _fresh(select(func.count(counted)), repeat_prompts).where(PairRow.taken < bindparam("ratings"))


@cache
def _candidates(repeat_prompts: bool) -> Select[*tuple[Any, ...]]:
    """(pair, taken, student_firsts, how often ``rater`` has had its student), the most needed first."""
    seen = (
        select(PairRow.student, func.count().label("times"))
        .join(AssignmentRow, AssignmentRow.pair_id == PairRow.id)
        .where(AssignmentRow.rater_id == bindparam("rater"))
        .group_by(PairRow.student)
        .subquery()
    )
    times = func.coalesce(seen.c.times, 0)
    return (
        _fresh(select(PairRow.id, PairRow.taken, PairRow.student_firsts, times), repeat_prompts)
        .outerjoin(seen, seen.c.student == PairRow.student)
        .where(PairRow.taken < bindparam("ratings"))
        .order_by(PairRow.taken, times, PairRow.place * bindparam("factor", type_=BigInteger) % _PRIME)
        .limit(_CANDIDATES)
    )


@cache
def _held(repeat_prompts: bool) -> Select[*tuple[Any, ...]]:
    """A pair that ``rater`` could still get and somebody else has open."""
    query = _fresh(select(PairRow.id), repeat_prompts).join(AssignmentRow, AssignmentRow.pair_id == PairRow.id)
    return query.where(AssignmentRow.choice.is_(None), AssignmentRow.released.is_(False)).limit(1)


class HandOut:
    """Chooses for one rater, inside a transaction that holds the rater's row."""

    def __init__(
        self, session: Session, rater: RaterRow, rules: RatingRules, checks: Sequence[tuple[int, str]], salt: str
    ) -> None:
        """``checks``: (pair id, kind) of every check item of the campaign."""
        self.session, self.rater, self.rules, self.checks = session, rater, rules, checks
        self.salt = f"{salt}:{rater.id}"
        self.mine = [Mine(*row) for row in session.execute(_MINE, {"rater": rater.id})]
        self._free_count: int | None = None

    @property
    def done(self) -> int:
        """Tasks that this rater has voted on."""
        return sum(row.choice is not None for row in self.mine)

    def open(self) -> int | None:
        """The assignment to show (again): the earliest without a vote that is still, or can again be, this rater's."""
        for row in self.mine:
            if row.choice is None and (not row.released or self.take_again(row)):
                return row.id
        return None

    def take_again(self, row: Mine) -> bool:
        """Keep a pair whose time had passed for its rater after all, unless others have it now."""
        limit = self.rules.ratings if row.kind == "pair" else None
        one_at_a_time(self.session)
        if not change_taken(self.session, row.pair_id, 1, row.student_first, limit=limit):
            return False
        self.session.execute(update(AssignmentRow).where(AssignmentRow.id == row.id).values(released=False))
        self.mine[self.mine.index(row)] = row._replace(released=False)
        return True

    def qualified(self) -> bool | None:
        """Whether the qualification was passed; ``None`` while it is not answered wholly, or there is none."""
        asked = [pair for pair, kind in self.checks if kind == "qualification"]
        answers = [row for row in self.mine if row.kind == "qualification" and row.choice is not None]
        if not asked or len(answers) < len(asked):
            return None
        right = sum(row.choice == ("second" if row.student_first else "first") for row in answers)
        return right >= self.rules.qualification_share * len(asked)

    def next(self, now: float) -> int | None:
        """Hand out a new task; the assignment's id, or ``None`` where nothing is left for this rater."""
        one_at_a_time(self.session)
        check = self._check("qualification")
        if check is None:
            if self.quota() <= 0 or not self._free():
                return None
            check = self._check_due()
        if check is not None:
            pair = self.session.get_one(PairRow, check)
            return self._hand_out(check, pair.kind, 2 * pair.student_firsts - pair.taken, now)
        lean, candidates = self._lean(), self._candidates()
        # Of pairs that are needed alike, first one whose balance and the rater's ask for the same side.
        candidates.sort(key=lambda row: (row[1], row[3], (2 * row[2] - row[1]) * lean < 0))
        for pair_id, taken, firsts, _times in candidates[:1]:
            return self._hand_out(pair_id, "pair", 2 * firsts - taken, now)
        return None

    def total(self) -> int:
        """How many tasks this rater will have done in the end: done, open and, as it stands, to come."""
        unvoted = [row for row in self.mine if row.choice is None and not row.released]
        shown = {kind: sum(row.kind == kind for row in self.mine) for kind in ("qualification", "gold", "attention")}
        there = {kind: sum(k == kind for _, k in self.checks) for kind in shown}
        served = len(self.mine) - shown["qualification"]
        every = {"gold": self.rules.gold_every, "attention": self.rules.attention_every}
        kinds = [(every[kind], shown[kind], there[kind], f"{self.salt}:{kind}") for kind in every]
        ahead = tasks_with_checks(served, max(0, min(self.quota(), self._free())), kinds)
        return self.done + len(unvoted) + there["qualification"] - shown["qualification"] + ahead

    def others_hold_some(self) -> bool:
        """Whether a pair that this rater could still get is in somebody's hands."""
        return self.session.execute(_held(self.rules.repeat_prompts), {"rater": self.rater.id}).first() is not None

    def quota(self) -> int:
        """How many more pairs this rater may get."""
        served = sum(row.kind == "pair" and not (row.released and row.choice is None) for row in self.mine)
        return _PRIME if self.rules.pairs_per_rater is None else self.rules.pairs_per_rater - served

    def _check_due(self) -> int | None:
        served = sum(row.kind != "qualification" for row in self.mine)
        for kind, every in (("attention", self.rules.attention_every), ("gold", self.rules.gold_every)):
            shown = sum(row.kind == kind for row in self.mine)
            if shown < checks_due(served, every, f"{self.salt}:{kind}"):
                check = self._check(kind)
                if check is not None:
                    return check
        return None

    def _check(self, kind: str) -> int | None:
        """A check of this kind that the rater has not had, in an order of the rater's own."""
        had = {row.pair_id for row in self.mine}
        unseen = [pair for pair, of in self.checks if of == kind and pair not in had]
        return min(unseen, key=lambda pair: draw(f"{self.salt}:check:{pair}"), default=None)

    def _lean(self) -> int:
        """How many more times this rater was shown the student first than second."""
        return sum(1 if row.student_first else -1 for row in self.mine)

    def _free(self) -> int:
        """Pairs (prompts, where those do not come back) that this rater could get now."""
        if self._free_count is None:
            mine = {"rater": self.rater.id, "ratings": self.rules.ratings}
            self._free_count = cast(int, self.session.scalar(_free(self.rules.repeat_prompts), mine))
        return self._free_count

    def _candidates(self) -> list[Row[*tuple[Any, ...]]]:
        mine = {"rater": self.rater.id, "ratings": self.rules.ratings, "factor": 1 + draw(self.salt) % (_PRIME - 1)}
        return list(self.session.execute(_candidates(self.rules.repeat_prompts), mine))

    def _hand_out(self, pair_id: int, kind: str, leans: int, now: float) -> int:
        """``leans``: how many more times the pair showed its student first than second."""
        lean = leans or self._lean()
        student_first = lean < 0 if lean else secrets.randbelow(2) == 1
        change_taken(self.session, pair_id, 1, student_first)
        assignment = AssignmentRow(
            token=secrets.token_urlsafe(24),
            pair_id=pair_id,
            rater_id=self.rater.id,
            student_first=student_first,
            handed_at=now,
        )
        self.session.add(assignment)
        self.session.flush()
        self.mine.append(Mine(assignment.id, pair_id, kind, student_first, None, False))
        if kind == "pair":
            self._free_count = self._free() - 1  # its prompt is no longer free for this rater
        return assignment.id


def change_taken(session: Session, pair_id: int, by: int, student_first: bool, *, limit: int | None = None) -> bool:
    """Count a pair as taken once more (or less), if that keeps it within ``limit``: whether it did."""
    values = {"pair": pair_id, "by": by, "first": by * student_first}
    if limit is not None:
        values["limit"] = limit
    result = session.execute(_change(limit is not None), values)
    return cast("CursorResult[Any]", result).rowcount == 1


@cache
def _change(limited: bool) -> Executable:
    change = update(PairRow).where(PairRow.id == bindparam("pair"))
    if limited:
        change = change.where(PairRow.taken < bindparam("limit"))
    sums = {"taken": PairRow.taken + bindparam("by"), "student_firsts": PairRow.student_firsts + bindparam("first")}
    return change.values(sums).execution_options(synchronize_session=False)


def release_expired(session: Session, now: float, timeout_s: float) -> int:
    """Let go of what was handed out longer ago than the time-out. A hand-out from the future tells of a clock that
    was put back: it is let go too, or it would stay until the clock is there again. Nobody's vote is refused for it
    unless others have filled the pair."""
    late = or_(AssignmentRow.handed_at <= now - timeout_s, AssignmentRow.handed_at > now + timeout_s)
    one_at_a_time(session)
    rows = session.execute(
        select(AssignmentRow.id, AssignmentRow.pair_id, AssignmentRow.student_first)
        .where(and_(AssignmentRow.choice.is_(None), AssignmentRow.released.is_(False), late))
        .with_for_update(skip_locked=True)  # one that is being voted on right now is not late
    ).all()
    for assignment, pair_id, student_first in rows:
        session.execute(update(AssignmentRow).where(AssignmentRow.id == assignment).values(released=True))
        change_taken(session, pair_id, -1, student_first)
    return len(rows)
