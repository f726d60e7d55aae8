"""Checks, breaks, marks and recorded times; the rules in one setting; counts kept beside each pair."""

from __future__ import annotations

import json
import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns, then fill them from what the first form knew."""
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    op.create_index("pair_by_need", "pair", ["kind", "taken"])
    op.create_index("rater_by_external", "rater", ["external"], unique=True)
    op.create_index("assignment_open", "assignment", ["choice", "released"])
    connection = op.get_bind()
    connection.execute(
        sa.text("UPDATE pair SET taken = (SELECT count(*) FROM assignment WHERE assignment.pair_id = pair.id)")
    )
    connection.execute(
        sa.text(
            "UPDATE pair SET student_firsts = "
            "(SELECT count(*) FROM assignment WHERE assignment.pair_id = pair.id AND assignment.student_first)"
        )
    )
    for (pair,) in connection.execute(sa.text("SELECT id FROM pair")).all():
        place = {"place": secrets.randbelow(2**31), "pair": pair}
        connection.execute(sa.text("UPDATE pair SET place = :place WHERE id = :pair"), place)
    connection.execute(sa.text("UPDATE assignment SET shown_at = handed_at WHERE choice IS NULL"))
    connection.execute(
        sa.text(
            "UPDATE assignment SET seconds = voted_at - handed_at WHERE choice IS NOT NULL AND voted_at > handed_at"
        )
    )
    _gather_rules(connection)


def _columns() -> dict[str, list[sa.Column[object]]]:
    zero = sa.text("0")
    return {
        "pair": [
            sa.Column("kind", sa.String(16), nullable=False, server_default="pair"),
            sa.Column("taken", sa.Integer, nullable=False, server_default=zero),
            sa.Column("student_firsts", sa.Integer, nullable=False, server_default=zero),
            sa.Column("place", sa.BigInteger, nullable=False, server_default=zero),
        ],
        "rater": [
            sa.Column("joined_at", sa.Float),
            sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
            sa.Column("rested_at", sa.Integer, nullable=False, server_default=zero),
            sa.Column("undoable", sa.Integer),
        ],
        "assignment": [
            sa.Column("shown_at", sa.Float),
            sa.Column("released", sa.Boolean, nullable=False, server_default=sa.false()),
            sa.Column("marks", sa.Text),
            sa.Column("facts_checked", sa.Boolean),
            sa.Column("seconds", sa.Float, nullable=False, server_default=zero),
        ],
    }


def _gather_rules(connection: sa.Connection) -> None:
    """An old campaign's two rules become the one setting; a new one has no settings yet."""
    rows = connection.execute(sa.text("SELECT name, value FROM setting"))
    old = {row.name: row.value for row in rows}
    if "invitation" not in old:
        return
    rules = {"ratings": int(old["ratings"]), "timeout_s": float(old["timeout_s"]), "repeat_prompts": True}
    add = sa.text("INSERT INTO setting (name, value) VALUES (:name, :value)")
    connection.execute(add, {"name": "rules", "value": json.dumps(rules)})
    connection.execute(add, {"name": "secret", "value": secrets.token_hex(32)})
