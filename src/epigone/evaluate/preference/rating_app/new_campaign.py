"""Making a campaign, and opening one that was made."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.orm import Session

from epigone.errors import DataError, DiskError, EpigoneError
from epigone.evaluate.preference.pairs import Pair
from epigone.evaluate.preference.rating_app.campaign import Campaign
from epigone.evaluate.preference.rating_app.checks import CheckItem
from epigone.evaluate.preference.rating_app.database import Database, storable
from epigone.evaluate.preference.rating_app.rules import RatingRules
from epigone.evaluate.preference.rating_app.tables import PairRow, SettingRow

__all__ = ["new_campaign", "open_campaign"]

_MAKE_ONE = "make one with `epigone rate new`"


def new_campaign(
    where: Path | str, pairs: Sequence[Pair], rules: RatingRules | None = None, *, checks: Sequence[CheckItem] = ()
) -> Campaign:
    """Make a campaign in a new SQLite file, or in an empty database at a URL.

    Pairs without both outputs are left out: there is nothing to compare.

    Raises:
        DataError: no pair has both outputs, a pair is there twice, there is a campaign already.
        DiskError: the database cannot be written; no half-made campaign stays.
    """
    shown = [pair for pair in pairs if pair.student_response and pair.teacher_response]
    if not shown:
        raise DataError("no pair has both outputs", fix="check that ids match in the two files")
    twice = [key for key, count in Counter((pair.item, pair.student) for pair in shown).items() if count > 1]
    if twice:
        item, student = twice[0]
        raise DataError(f"'{student}' answers '{item}' twice", fix="give each student its own name")
    path = None if "://" in str(where) else Path(where)
    if path is not None:
        _make_room(path)
    database = Database(where)
    try:
        if database.holds_campaign():
            raise DataError("holds a campaign already", where=database.name, fix="choose another file or database")
        database.bring_up_to_date()
        with database.writing() as session:
            _fill(session, shown, rules or RatingRules(), checks)
    except DiskError:
        if path is not None:
            for end in ("", "-wal", "-shm"):
                path.with_name(path.name + end).unlink(missing_ok=True)
        raise
    finally:
        database.close()
    return open_campaign(where)


def open_campaign(where: Path | str) -> Campaign:
    """Open a campaign that :func:`new_campaign` made, of this or an earlier version, and bring it up to date.

    Raises:
        DataError: there is none.
        DiskError: the database cannot be read.
    """
    if "://" not in str(where) and not Path(where).is_file():
        raise DataError("there is no such campaign file", where=str(where), fix=_MAKE_ONE)
    database = Database(where)
    try:
        if not database.holds_campaign():
            raise DataError("holds no campaign", where=database.name, fix=_MAKE_ONE)
        database.bring_up_to_date()
        return Campaign(database)
    except EpigoneError as error:
        database.close()
        if "not a database" in error.what:
            raise DataError("is no campaign file", where=str(where), fix=_MAKE_ONE) from None
        raise


def _make_room(path: Path) -> None:
    if path.exists():
        raise DataError("exists already", where=str(path), fix="choose another file: a campaign is never overwritten")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # it will hold cookies and crowd ids
    except OSError as error:
        raise DiskError(f"cannot be made: {error.strerror}", where=str(path), fix="choose another folder") from error


def _fill(session: Session, pairs: Sequence[Pair], rules: RatingRules, checks: Sequence[CheckItem]) -> None:
    settings = {
        "invitation": secrets.token_urlsafe(18),
        "organiser": secrets.token_urlsafe(18),
        "order": secrets.token_hex(16),
        "secret": secrets.token_hex(32),
        "rules": rules.model_dump_json(),
    }
    session.add_all(SettingRow(name=name, value=value) for name, value in settings.items())
    rows = [
        PairRow(
            item=pair.item,
            student=pair.student,
            teacher=pair.teacher,
            prompt=storable(pair.prompt),
            student_text=storable(pair.student_response or ""),
            teacher_text=storable(pair.teacher_response or ""),
        )
        for pair in pairs
    ]
    rows += [
        PairRow(
            kind=check.kind,
            item=check.id,
            student="",
            teacher="",
            prompt=storable(check.prompt),
            student_text=storable(check.worse),
            teacher_text=storable(check.better),
        )
        for check in checks
    ]
    secrets.SystemRandom().shuffle(rows)  # so that a row's number says nothing of what it is
    for row in rows:
        row.place = secrets.randbelow(2**31)
    session.add_all(rows)
