"""A rating campaign: who rates what, which side is first, and the votes that come of it.

A pair gets at most ``ratings`` votes, never two of one rater; what is handed out and not voted on within
``timeout_s`` is handed out again. Sides are random and balanced for each rater.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from msgspec import Struct
from sqlalchemy import Engine, create_engine, event, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from epigone.errors import DataError, DiskError
from epigone.evaluate.preference.pairs import Pair
from epigone.evaluate.preference.rating_app.tables import AssignmentRow, PairRow, RaterRow, SettingRow, Table
from epigone.records import Choice, Vote

__all__ = ["Campaign", "Progress", "Shown", "Task", "new_campaign", "open_campaign"]

Shown = Literal["first", "second", "same"]
REASON_CHARACTERS = 2000


class Task(Struct, frozen=True, kw_only=True):
    """What a rater sees. Nothing in it tells the systems apart."""

    token: str
    prompt: str
    first: str
    second: str
    done: int
    total: int


class Progress(Struct, frozen=True, kw_only=True):
    """Where a campaign stands. ``votes`` of ``wanted``; ``complete`` pairs have all their ratings."""

    pairs: int
    complete: int
    votes: int
    wanted: int
    raters: int
    open: int


def new_campaign(where: Path | str, pairs: Sequence[Pair], *, ratings: int = 3, timeout_s: float = 1800.0) -> Campaign:
    """Make a campaign in a new SQLite file, or in an empty database at a URL.

    Pairs without both outputs are left out: there is nothing to compare.

    Raises:
        DataError: no pair has both outputs; there is a campaign already.
        DiskError: the database cannot be written.
    """
    shown = [pair for pair in pairs if pair.student_response and pair.teacher_response]
    if not shown:
        raise DataError("no pair has both outputs", where=str(where), fix="check that ids match in the two files")
    campaign = Campaign(_engine(where, fresh=True))
    Table.metadata.create_all(campaign.engine)
    with campaign.session() as session:
        if session.get(SettingRow, "invitation") is not None:
            raise DataError("holds a campaign already", where=str(where), fix="choose another file or database")
        settings = {"invitation": secrets.token_urlsafe(18), "organiser": secrets.token_urlsafe(18)}
        settings |= {"ratings": str(ratings), "timeout_s": str(timeout_s), "order": secrets.token_hex(16)}
        session.add_all(SettingRow(name=name, value=value) for name, value in settings.items())
        session.add_all(
            PairRow(
                item=pair.item,
                student=pair.student,
                teacher=pair.teacher,
                prompt=pair.prompt,
                student_text=pair.student_response,
                teacher_text=pair.teacher_response,
            )
            for pair in shown
        )
    return open_campaign(where)


def open_campaign(where: Path | str) -> Campaign:
    """Open a campaign that :func:`new_campaign` made.

    Raises:
        DataError: there is none.
    """
    campaign = Campaign(_engine(where, fresh=False))
    try:
        with campaign.session() as session:
            if session.get(SettingRow, "invitation") is None:
                raise DataError("holds no campaign", where=str(where), fix="make one with `epigone rate new`")
    except DiskError:
        raise DataError("holds no campaign", where=str(where), fix="make one with `epigone rate new`") from None
    return campaign


class Campaign:
    """All that raters and organisers do; every method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction: committed at the end, rolled back on an error.

        Raises:
            DiskError: the database refuses; nothing of the transaction is kept.
        """
        try:
            with Session(self.engine) as session, session.begin():
                yield session
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise DiskError(f"the rating database refuses: {reason}", where=str(self.engine.url)) from error

    def setting(self, name: str) -> str:
        """A setting's value."""
        with self.session() as session:
            row = session.get(SettingRow, name)
            return row.value if row is not None else ""

    def join(self, invitation: str, *, external: str | None = None) -> str | None:
        """The cookie of a new rater, or of the same crowd worker again; ``None`` for a wrong invitation."""
        if not secrets.compare_digest(invitation.encode(), self.setting("invitation").encode()):
            return None
        with self.session() as session:
            if external:
                known = session.scalar(select(RaterRow).where(RaterRow.external == external))
                if known is not None:
                    return known.token
            rater = RaterRow(token=secrets.token_urlsafe(24), external=external)
            session.add(rater)
            return rater.token

    def knows(self, rater: str) -> bool:
        """Whether a cookie is a rater's."""
        with self.session() as session:
            return session.scalar(select(RaterRow.id).where(RaterRow.token == rater)) is not None

    def task(self, rater: str, *, now: float | None = None) -> Task | None:
        """The pair that this rater has open, else the next one; ``None`` when there is none left for them."""
        now = time.time() if now is None else now
        ratings, timeout = int(self.setting("ratings")), float(self.setting("timeout_s"))
        order = self.setting("order")
        with self.session() as session:
            mine = session.scalar(select(RaterRow).where(RaterRow.token == rater))
            if mine is None:
                return None
            votes = select(AssignmentRow).where(AssignmentRow.rater_id == mine.id)
            assignments = list(session.scalars(votes))
            done = sum(row.choice is not None for row in assignments)
            open_row = next((row for row in assignments if row.choice is None), None)
            if open_row is None:
                seen = {row.pair_id for row in assignments}
                pair_id = _next_pair(session, seen, ratings=ratings, since=now - timeout, salt=f"{order}{mine.id}")
                if pair_id is None:
                    return None
                firsts = sum(row.student_first for row in assignments)
                open_row = AssignmentRow(
                    token=secrets.token_urlsafe(24),
                    pair_id=pair_id,
                    rater_id=mine.id,
                    student_first=_balanced_side(firsts, len(assignments)),
                    handed_at=now,
                )
                session.add(open_row)
            pair = session.get_one(PairRow, open_row.pair_id)
            texts = (pair.student_text, pair.teacher_text)
            first, second = texts if open_row.student_first else texts[::-1]
            total = session.scalar(select(func.count(PairRow.id))) or 0
            return Task(token=open_row.token, prompt=pair.prompt, first=first, second=second, done=done, total=total)

    def vote(
        self, rater: str, token: str, choice: Shown, *, reason: str | None = None, now: float | None = None
    ) -> bool:
        """Store a vote on the pair that ``token`` stands for; a second vote on it changes nothing.

        Returns whether the token is this rater's.
        """
        with self.session() as session:
            row = session.scalar(
                select(AssignmentRow)
                .join(RaterRow, RaterRow.id == AssignmentRow.rater_id)
                .where(AssignmentRow.token == token, RaterRow.token == rater)
            )
            if row is None:
                return False
            if row.choice is None:
                row.choice = choice
                row.reason = (reason or "").strip()[:REASON_CHARACTERS] or None
                row.voted_at = time.time() if now is None else now
            return True

    def undo(self, rater: str) -> bool:
        """Take this rater's last vote back, so that its pair is shown again; the pair that was open is let go."""
        with self.session() as session:
            rows = list(
                session.scalars(
                    select(AssignmentRow)
                    .join(RaterRow, RaterRow.id == AssignmentRow.rater_id)
                    .where(RaterRow.token == rater)
                    .order_by(AssignmentRow.id)
                )
            )
            voted = [row for row in rows if row.choice is not None]
            if not voted:
                return False
            for row in rows:
                if row.choice is None:
                    session.delete(row)
            last = max(voted, key=lambda row: row.voted_at or 0.0)
            last.choice = last.voted_at = last.reason = None
            return True

    def progress(self) -> Progress:
        """Counts for the organiser."""
        ratings = int(self.setting("ratings"))
        with self.session() as session:
            pairs = session.scalar(select(func.count(PairRow.id))) or 0
            rows = list(session.execute(select(AssignmentRow.pair_id, AssignmentRow.choice)))
            raters = session.scalar(select(func.count(RaterRow.id))) or 0
        by_pair: dict[int, int] = {}
        for pair_id, choice in rows:
            by_pair[pair_id] = by_pair.get(pair_id, 0) + (choice is not None)
        votes = sum(by_pair.values())
        complete = sum(count >= ratings for count in by_pair.values())
        return Progress(
            pairs=pairs, complete=complete, votes=votes, wanted=pairs * ratings, raters=raters, open=len(rows) - votes
        )

    def votes(self) -> list[Vote]:
        """Every vote as the record that a judge's vote is too; raters by pseudonym."""
        salt = self.setting("order")
        with self.session() as session:
            rows = session.execute(
                select(AssignmentRow, PairRow, RaterRow)
                .join(PairRow, PairRow.id == AssignmentRow.pair_id)
                .join(RaterRow, RaterRow.id == AssignmentRow.rater_id)
                .where(AssignmentRow.choice.is_not(None))
                .order_by(AssignmentRow.id)
            )
            return [_as_vote(assignment, pair, rater, salt) for assignment, pair, rater in rows]


def _next_pair(session: Session, seen: set[int], *, ratings: int, since: float, salt: str) -> int | None:
    """The pair with the fewest ratings that this rater has not seen; ties in an order of the rater's own."""
    counts: dict[int, int] = dict.fromkeys(session.scalars(select(PairRow.id)), 0)
    taken = session.execute(select(AssignmentRow.pair_id, AssignmentRow.choice, AssignmentRow.handed_at))
    for pair_id, choice, handed_at in taken:
        counts[pair_id] += choice is not None or handed_at > since
    free = [pair_id for pair_id, count in counts.items() if count < ratings and pair_id not in seen]
    return min(free, key=lambda pair_id: (counts[pair_id], _shuffled(salt, pair_id)), default=None)


def _balanced_side(firsts: int, shown: int) -> bool:
    """Random, and never more than one apart within a rater: every second side answers the one before."""
    if 2 * firsts == shown:
        return secrets.randbelow(2) == 1
    return 2 * firsts < shown


def _shuffled(salt: str, number: int) -> str:
    return hashlib.sha256(f"{salt}:{number}".encode()).hexdigest()


def _as_vote(assignment: AssignmentRow, pair: PairRow, rater: RaterRow, salt: str) -> Vote:
    sides: dict[str, Choice] = {"same": "tie"}
    sides["first"], sides["second"] = ("student", "teacher") if assignment.student_first else ("teacher", "student")
    return Vote(
        item=pair.item,
        student=pair.student,
        teacher=pair.teacher,
        voter=f"rater-{_shuffled(salt, rater.id)[:12]}",
        kind="person",
        choice=sides[assignment.choice or "same"],
        first="student" if assignment.student_first else "teacher",
        seconds=None if assignment.voted_at is None else max(0.0, round(assignment.voted_at - assignment.handed_at, 1)),
        reason=assignment.reason,
    )


def _engine(where: Path | str, *, fresh: bool) -> Engine:
    text = str(where)
    if "://" in text:
        return create_engine(text)
    path = Path(text)
    if fresh:
        if path.exists():
            raise DataError("exists already", where=text, fix="choose another file: a campaign is never overwritten")
        path.parent.mkdir(parents=True, exist_ok=True)
    elif not path.is_file():
        raise DataError("there is no such campaign file", where=text, fix="make one with `epigone rate new`")
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def prepare(connection: object, _: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        connection.isolation_level = None  # type: ignore[attr-defined]

    @event.listens_for(engine, "begin")
    def begin(connection: object) -> None:
        # A writer from the start: two raters that ask at once are served one after the other.
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # type: ignore[attr-defined]

    return engine
