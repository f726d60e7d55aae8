"""The first form: settings, pairs, raters, assignments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the four tables."""
    op.create_table(
        "setting", sa.Column("name", sa.String(64), primary_key=True), sa.Column("value", sa.Text, nullable=False)
    )
    texts = ("item", "student", "teacher", "prompt", "student_text", "teacher_text")
    op.create_table(
        "pair",
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
    )
    op.create_table(
        "rater",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("token", sa.String(64), nullable=False, unique=True),
        sa.Column("external", sa.Text),
    )
    op.create_table(
        "assignment",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("token", sa.String(64), nullable=False, unique=True),
        sa.Column("pair_id", sa.Integer, sa.ForeignKey("pair.id"), nullable=False),
        sa.Column("rater_id", sa.Integer, sa.ForeignKey("rater.id"), nullable=False),
        sa.Column("student_first", sa.Boolean, nullable=False),
        sa.Column("handed_at", sa.Float, nullable=False),
        sa.Column("choice", sa.String(8)),
        sa.Column("reason", sa.Text),
        sa.Column("voted_at", sa.Float),
        sa.UniqueConstraint("pair_id", "rater_id"),
    )
    op.create_index("ix_assignment_pair_id", "assignment", ["pair_id"])
    op.create_index("ix_assignment_rater_id", "assignment", ["rater_id"])
