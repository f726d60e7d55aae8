"""The rating database: pairs, raters, assignments. SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

from sqlalchemy import Float, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["AssignmentRow", "PairRow", "RaterRow", "SettingRow", "Table"]


class Table(DeclarativeBase):
    """All tables of a campaign."""


class SettingRow(Table):
    """One setting of the campaign; written when it is made."""

    __tablename__ = "setting"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class PairRow(Table):
    """Two outputs to one prompt. Names of systems are here and in exports only, never in what a rater receives."""

    __tablename__ = "pair"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    item: Mapped[str] = mapped_column(Text)
    student: Mapped[str] = mapped_column(Text)
    teacher: Mapped[str] = mapped_column(Text)
    prompt: Mapped[str] = mapped_column(Text)
    student_text: Mapped[str] = mapped_column(Text)
    teacher_text: Mapped[str] = mapped_column(Text)


class RaterRow(Table):
    """Somebody who accepted the invitation. ``token`` is the cookie; ``external`` a crowd platform's id."""

    __tablename__ = "rater"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    token: Mapped[str] = mapped_column(String(64), unique=True)
    external: Mapped[str | None] = mapped_column(Text, default=None)


class AssignmentRow(Table):
    """A pair handed to a rater, and the vote once there is one. ``choice``: first, second or same, as it was shown."""

    __tablename__ = "assignment"
    __table_args__ = (UniqueConstraint("pair_id", "rater_id"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    token: Mapped[str] = mapped_column(String(64), unique=True)
    pair_id: Mapped[int] = mapped_column(ForeignKey("pair.id"), index=True)
    rater_id: Mapped[int] = mapped_column(ForeignKey("rater.id"), index=True)
    student_first: Mapped[bool]
    handed_at: Mapped[float] = mapped_column(Float)
    choice: Mapped[str | None] = mapped_column(String(8), default=None)
    reason: Mapped[str | None] = mapped_column(Text, default=None)
    voted_at: Mapped[float | None] = mapped_column(Float, default=None)
