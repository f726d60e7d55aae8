"""The rating database: settings, pairs, raters, assignments. SQLite by default, PostgreSQL by URL.

``migrations/`` holds how these tables came to be; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["AssignmentRow", "PairRow", "RaterRow", "SettingRow", "Table"]


class Table(DeclarativeBase):
    """All tables of a campaign."""


class SettingRow(Table):
    """One setting of the campaign. All but ``closed_at`` are written when it is made."""

    __tablename__ = "setting"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class PairRow(Table):
    """Two outputs to one prompt. Names of systems are here and in exports only, never in what a rater receives.

    ``kind``: ``pair``, or a check whose better answer is known: ``gold``, ``attention``, ``qualification``; a check's
    better answer stands as the teacher's. ``taken``: votes plus what is kept for somebody now; ``student_firsts``:
    how many of those show the student first. ``place`` is drawn at random, for shuffling.
    """

    __tablename__ = "pair"
    __table_args__ = (Index("pair_by_need", "kind", "taken"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), server_default="pair")
    item: Mapped[str] = mapped_column(Text)
    student: Mapped[str] = mapped_column(Text)
    teacher: Mapped[str] = mapped_column(Text)
    prompt: Mapped[str] = mapped_column(Text)
    student_text: Mapped[str] = mapped_column(Text)
    teacher_text: Mapped[str] = mapped_column(Text)
    taken: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    student_firsts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    place: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class RaterRow(Table):
    """Somebody who agreed to rate. ``token`` is the cookie; ``external`` a crowd platform's id.

    ``undoable``: the assignment whose vote can be taken back. ``rested_at``: votes given when the last break began.
    """

    __tablename__ = "rater"
    __table_args__ = (Index("rater_by_external", "external", unique=True),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    token: Mapped[str] = mapped_column(String(64), unique=True)
    external: Mapped[str | None] = mapped_column(Text, default=None)
    joined_at: Mapped[float | None] = mapped_column(Float, default=None)
    paused: Mapped[bool] = mapped_column(Boolean, server_default=false(), default=False)
    rested_at: Mapped[int] = mapped_column(Integer, server_default=text("0"), default=0)
    undoable: Mapped[int | None] = mapped_column(Integer, default=None)


class AssignmentRow(Table):
    """A pair handed to a rater, and the vote once there is one. ``choice``: first, second or same, as it was shown.

    ``handed_at`` starts the time-out, ``released`` says that it has passed. ``shown_at`` is when the time on the page
    began to count (``None``: it does not, the rater rests), ``seconds`` what counted before. ``marks``: JSON,
    criterion to first, second or same.
    """

    __tablename__ = "assignment"
    __table_args__ = (UniqueConstraint("pair_id", "rater_id"), Index("assignment_open", "choice", "released"))
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    token: Mapped[str] = mapped_column(String(64), unique=True)
    pair_id: Mapped[int] = mapped_column(ForeignKey("pair.id"), index=True)
    rater_id: Mapped[int] = mapped_column(ForeignKey("rater.id"), index=True)
    student_first: Mapped[bool]
    handed_at: Mapped[float] = mapped_column(Float)
    shown_at: Mapped[float | None] = mapped_column(Float, default=None)
    released: Mapped[bool] = mapped_column(Boolean, server_default=false(), default=False)
    choice: Mapped[str | None] = mapped_column(String(8), default=None)
    reason: Mapped[str | None] = mapped_column(Text, default=None)
    marks: Mapped[str | None] = mapped_column(Text, default=None)
    facts_checked: Mapped[bool | None] = mapped_column(Boolean, default=None)
    seconds: Mapped[float] = mapped_column(Float, server_default=text("0"), default=0.0)
    voted_at: Mapped[float | None] = mapped_column(Float, default=None)
