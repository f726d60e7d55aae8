"""A rating campaign: all that raters do, one transaction each.

A pair gets at most ``rules.ratings`` votes, never two of one rater; what is handed out and not voted on within
``rules.timeout_s`` is handed out again. Times are the wall clock's; a clock that is put back costs at most the time
that a page had been open.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from epigone.errors import DataError
from epigone.evaluate.preference.rating_app.cast_votes import (
    CheckAnswer,
    CrowdRater,
    checks_answered,
    delete_rater,
    pseudonym,
    votes_cast,
)
from epigone.evaluate.preference.rating_app.database import Database, one_at_a_time, storable
from epigone.evaluate.preference.rating_app.figures import LiveFigures, Progress, count_progress, live_figures
from epigone.evaluate.preference.rating_app.hand_out import HandOut, change_taken, release_expired
from epigone.evaluate.preference.rating_app.rules import CRITERIA, RatingRules
from epigone.evaluate.preference.rating_app.tables import AssignmentRow, PairRow, RaterRow, SettingRow
from epigone.evaluate.preference.rating_app.task import Finished, OnBreak, Shown, Step, Task, VoteOutcome, Why
from epigone.records import Vote
from epigone.specs import parse_spec

__all__ = ["Campaign"]

REASON_CHARACTERS = 2000
EXTERNAL_CHARACTERS = 128
_RELEASE_EVERY_S = 1.0
_CONSENT = Path(__file__).with_name("consent.md")
_CLOSED = select(SettingRow.value).where(SettingRow.name == "closed_at").scalar_subquery()
_RATER = select(RaterRow, _CLOSED).where(RaterRow.token == bindparam("token")).with_for_update(of=RaterRow)
_ASSIGNMENT = select(AssignmentRow).where(
    AssignmentRow.token == bindparam("token"), AssignmentRow.rater_id == bindparam("rater")
)
_LOG = logging.getLogger("epigone.rating")


class Campaign:
    """A campaign in a database that :func:`new_campaign` filled. Threads may share it."""

    def __init__(self, database: Database) -> None:
        """Read what is fixed: rules, secrets, check items."""
        self.database = database
        with database.reading() as session:
            self._settings = {row.name: row.value for row in session.scalars(select(SettingRow))}
            checks = session.execute(select(PairRow.id, PairRow.kind).where(PairRow.kind != "pair"))
            self._checks: Sequence[tuple[int, str]] = [(row.id, row.kind) for row in checks]
        rules = json.loads(self._settings["rules"])
        self.rules: RatingRules = parse_spec(RatingRules, rules, where=f"{database.name}, its rules")
        self._salt = self._settings["order"]
        self._released_at = 0.0

    # ------------------------------------------------------------------------------------------ what is fixed

    def setting(self, name: str) -> str:
        """A setting's value as it was when the campaign was opened: ``invitation``, ``organiser``."""
        return self._settings.get(name, "")

    @property
    def cookie(self) -> str:
        """What the raters' cookie is called. Browsers keep one jar for all ports of a host: two campaigns there must
        not overwrite each other's."""
        return f"rater-{hashlib.sha256(self.setting('invitation').encode()).hexdigest()[:8]}"

    @property
    def consent(self) -> str:
        """What raters agree to, Markdown."""
        return self.rules.consent if self.rules.consent is not None else _CONSENT.read_text(encoding="utf-8")

    @property
    def instructions(self) -> str | None:
        """The organiser's own explanation of the task, Markdown; ``None``: the page's."""
        return self.rules.instructions

    def invites(self, invitation: str) -> bool:
        """Whether this is the campaign's invitation."""
        return _same(invitation, self.setting("invitation"))

    def is_organiser(self, token: str) -> bool:
        """Whether this is the organiser's token."""
        return _same(token, self.setting("organiser"))

    def form_token(self, subject: str) -> str:
        """What a form of ``subject`` (a rater's cookie; ``join``) must bring back: nobody else can make it."""
        return hmac.new(self._settings["secret"].encode(), storable(subject).encode(), hashlib.sha256).hexdigest()

    def is_form_token(self, subject: str, token: str) -> bool:
        """Whether a form came from this campaign's page, for this subject."""
        return _same(token, self.form_token(subject))

    def refuse(self, what: str, *, rater: str = "", detail: str = "") -> None:
        """Log that something was refused. Neither cookie nor crowd id is written down, only the pseudonym."""
        who = self._pseudonym_of(rater) if rater else "nobody"
        _LOG.warning("refused: %s; by %s%s", what, who, f"; {detail[:200]!r}" if detail else "")

    # ------------------------------------------------------------------------------------------ raters

    def join(self, invitation: str, *, external: str | None = None, now: float | None = None) -> str | None:
        """The cookie of a rater who has agreed to the consent text; the same one for the same crowd worker.

        ``None`` for a wrong invitation, or where the rules want a crowd platform's id and there is none.
        """
        external = storable(external or "").strip()[:EXTERNAL_CHARACTERS] or None
        if not self.invites(invitation) or (self.rules.require_external and external is None):
            self.refuse("joining", detail="without a crowd platform's id" if self.invites(invitation) else "invitation")
            return None
        with self.database.writing() as session:
            if external is not None:
                known = session.scalar(select(RaterRow.token).where(RaterRow.external == external))
                if known is not None:
                    return known
            rater = RaterRow(token=secrets.token_urlsafe(24), external=external, joined_at=_now(now))
            session.add(rater)
            return rater.token

    def knows(self, rater: str) -> bool:
        """Whether a cookie is a rater's."""
        with self.database.reading() as session:
            return session.scalar(select(RaterRow.id).where(RaterRow.token == storable(rater))) is not None

    def step(self, rater: str, *, now: float | None = None) -> Step | None:
        """What this rater is to see: the task they have open, else the next one, else why there is none.

        ``None`` for a cookie that is no rater's.
        """
        now = _now(now)
        self._release(now)
        with self.database.writing(lasting=False) as session:
            mine, closed = _lock(session, rater)
            if mine is None:
                return None
            hand_out = HandOut(session, mine, self.rules, self._checks, self._salt)
            if closed:
                return self._finished("closed", hand_out, can_undo=False)
            if mine.paused:
                return OnBreak(done=hand_out.done, total=hand_out.total())
            if hand_out.qualified() is False:
                return self._finished("not_qualified", hand_out, can_undo=False)
            assignment = hand_out.open() or hand_out.next(now)
            if assignment is not None:
                return self._task(session, mine, session.get_one(AssignmentRow, assignment), hand_out, now)
            waiting = hand_out.quota() > 0 and hand_out.others_hold_some()
            return self._finished("waiting" if waiting else "done", hand_out, can_undo=mine.undoable is not None)

    def vote(
        self,
        rater: str,
        token: str,
        choice: Shown,
        *,
        reason: str | None = None,
        marks: Mapping[str, Shown] | None = None,
        facts_checked: bool | None = None,
        now: float | None = None,
    ) -> VoteOutcome:
        """Store a vote on the task that ``token`` stands for. Only ``stored`` changes what is on disk of it.

        Raises:
            DataError: a mark on what is no criterion.
        """
        if set(marks or ()) - set(CRITERIA):
            self.refuse("a mark on no criterion", rater=rater)
            raise DataError("a mark on what is no criterion", fix=f"criteria are {', '.join(CRITERIA)}")
        now = _now(now)
        with self.database.writing() as session:
            mine, closed = _lock(session, rater)
            row = None
            if mine is not None:
                row = session.scalar(_ASSIGNMENT, {"token": storable(token), "rater": mine.id})
            if mine is None or row is None:
                outcome: VoteOutcome = "not_yours"
            elif row.choice is not None:
                outcome = "already"
            elif closed:
                outcome = "closed"
            else:
                outcome = self._settle(session, row, now)
            if outcome == "stored" and mine is not None and row is not None:
                row.choice, row.voted_at, mine.undoable = choice, now, row.id
                row.reason = storable(reason or "").strip()[:REASON_CHARACTERS] or None
                row.marks = json.dumps(dict(marks)) if marks else None
                row.facts_checked = facts_checked
        if outcome in ("not_yours", "closed", "expired"):
            self.refuse(f"a vote: {outcome.replace('_', ' ')}", rater=rater)
        return outcome

    def undo(self, rater: str, *, now: float | None = None) -> bool:
        """Take this rater's last vote back, once: its pair is shown again, as it was, and stays theirs meanwhile."""
        now = _now(now)
        with self.database.writing() as session:
            mine, closed = _lock(session, rater)
            if mine is None or mine.undoable is None or closed:
                return False
            hand_out = HandOut(session, mine, self.rules, self._checks, self._salt)
            if hand_out.qualified() is False:
                return False
            _stop_clocks(session, mine, now)
            row = session.get_one(AssignmentRow, mine.undoable)
            row.choice = row.voted_at = row.reason = row.marks = row.facts_checked = None
            row.handed_at, mine.undoable = now, None
            return True

    def pause(self, rater: str, *, now: float | None = None) -> None:
        """Begin a break: no time counts until :meth:`resume`."""
        with self.database.writing() as session:
            mine, _ = _lock(session, rater)
            if mine is not None and not mine.paused:
                _stop_clocks(session, mine, _now(now))
                mine.paused, mine.rested_at = True, HandOut(session, mine, self.rules, self._checks, self._salt).done

    def resume(self, rater: str) -> None:
        """End a break."""
        with self.database.writing() as session:
            mine, _ = _lock(session, rater)
            if mine is not None:
                mine.paused = False

    # ------------------------------------------------------------------------------------------ organisers

    def progress(self) -> Progress:
        """Counts that are quick to get."""
        with self.database.reading() as session:
            return count_progress(session, self.rules)

    def figures(self) -> LiveFigures:
        """The organiser's live figures."""
        with self.database.reading() as session:
            return live_figures(session, self.rules, self._salt)

    def votes(self) -> list[Vote]:
        """Every vote on a pair as the record that a judge's vote is too; raters by pseudonym."""
        with self.database.reading() as session:
            return votes_cast(session, self._salt)

    def checks_answered(self) -> list[CheckAnswer]:
        """Every answer to a check item; raters by pseudonym."""
        with self.database.reading() as session:
            return checks_answered(session, self._salt)

    def crowd_raters(self) -> list[CrowdRater]:
        """The raters whom a crowd platform sent: for paying people, not for publishing."""
        with self.database.reading() as session:
            rows = session.execute(select(RaterRow.id, RaterRow.external).where(RaterRow.external.is_not(None)))
            return [CrowdRater(crowd_id=external or "", rater=pseudonym(self._salt, n)) for n, external in rows]

    def close(self, *, now: float | None = None) -> None:
        """Take no more votes. A second time changes nothing."""
        with self.database.writing() as session:
            if session.get(SettingRow, "closed_at") is None:
                session.add(SettingRow(name="closed_at", value=str(_now(now))))

    def delete_rater(self, who: str) -> int:
        """Forget a rater, by pseudonym or crowd id, with every vote; their pairs are handed out again. How many votes.

        Raises:
            DataError: there is no such rater.
        """
        with self.database.writing() as session:
            count = delete_rater(session, self._salt, who)
        if count is None:
            raise DataError(f"no rater '{who}'", where=self.database.name, fix="see the raters that `status` lists")
        self.database.forget()
        return count

    # ------------------------------------------------------------------------------------------ inside

    def _release(self, now: float) -> None:
        """Let expired hand-outs go, at most about once a second: in a transaction of its own, so that no lock waits."""
        if abs(now - self._released_at) >= _RELEASE_EVERY_S:
            self._released_at = now
            with self.database.writing(lasting=False) as session:
                release_expired(session, now, self.rules.timeout_s)

    def _settle(self, session: Session, row: AssignmentRow, now: float) -> VoteOutcome:
        """Whether an open task's vote can be stored; its time is written down."""
        kind, limit = session.get_one(PairRow, row.pair_id).kind, self.rules.ratings
        seconds = _seconds(row, now)
        if seconds < self.rules.minimum_s:
            if row.shown_at is None or now < row.shown_at:
                row.shown_at = now
            return "too_soon"
        if row.released:
            one_at_a_time(session)
            full = limit if kind == "pair" else None
            if not change_taken(session, row.pair_id, 1, row.student_first, limit=full):
                return "expired"
            row.released = False
        row.seconds, row.shown_at = seconds, None
        return "stored"

    def _task(self, session: Session, rater: RaterRow, row: AssignmentRow, hand_out: HandOut, now: float) -> Task:
        if row.shown_at is None or now < row.shown_at:
            row.shown_at = now
        pair = session.get_one(PairRow, row.pair_id)
        texts = (pair.student_text, pair.teacher_text)
        first, second = texts if row.student_first else texts[::-1]
        done = hand_out.done
        return Task(
            token=row.token,
            prompt=pair.prompt,
            first=first,
            second=second,
            done=done,
            total=hand_out.total(),
            can_undo=rater.undoable is not None,
            break_due=done > rater.rested_at and done % self.rules.break_every == 0,
            wait_s=max(0.0, self.rules.minimum_s - _seconds(row, now)),
        )

    def _finished(self, why: Why, hand_out: HandOut, *, can_undo: bool) -> Finished:
        earned = hand_out.done > 0 and why != "not_qualified"
        return Finished(
            why=why,
            done=hand_out.done,
            can_undo=can_undo,
            code=self.rules.completion_code if earned else None,
            return_url=self.rules.return_url if earned else None,
        )

    def _pseudonym_of(self, rater: str) -> str:
        with self.database.reading() as session:
            number = session.scalar(select(RaterRow.id).where(RaterRow.token == storable(rater)))
        return "an unknown cookie" if number is None else pseudonym(self._salt, number)


def _lock(session: Session, rater: str) -> tuple[RaterRow | None, bool]:
    """The rater's row, held: two tabs of one rater take turns; and whether the campaign is closed."""
    found = session.execute(_RATER, {"token": storable(rater)}).first()
    return (None, False) if found is None else (found[0], found[1] is not None)


def _seconds(row: AssignmentRow, now: float) -> float:
    """Time that a task has been on the page, breaks aside; a clock put back meanwhile adds nothing."""
    return row.seconds + (0.0 if row.shown_at is None else max(0.0, now - row.shown_at))


def _stop_clocks(session: Session, rater: RaterRow, now: float) -> None:
    """Write down the time of everything that this rater has open."""
    unvoted = select(AssignmentRow).where(AssignmentRow.rater_id == rater.id, AssignmentRow.choice.is_(None))
    for row in session.scalars(unvoted):
        row.seconds, row.shown_at = _seconds(row, now), None


def _now(given: float | None) -> float:
    return time.time() if given is None else given


def _same(one: str, other: str) -> bool:
    """Equal, in a time that does not tell how nearly."""
    return secrets.compare_digest(storable(one).encode(), other.encode())
