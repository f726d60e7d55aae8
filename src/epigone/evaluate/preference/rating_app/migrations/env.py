"""Alembic's entry: runs the steps on the connection, and in the transaction, of whoever opens the campaign."""

from __future__ import annotations

from alembic import context

from epigone.evaluate.preference.rating_app.tables import Table

context.configure(connection=context.config.attributes["connection"], target_metadata=Table.metadata)
context.run_migrations()
