"""Run by Alembic: applies the steps on the connection of :func:`storage.db.migrations.upgrade`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from storage.db.tables import metadata

_LOCK_ID = 0x4D494C4C  # any number, the same in every Millwright: one machine at a time makes the tables

connection: sa.Connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK_ID})
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
