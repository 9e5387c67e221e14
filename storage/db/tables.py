"""The tables. Every row belongs to a tenant where anything belongs to one; every time is stored in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

# A query or a column of whatever type: what it holds is known where the table is.
AnySelect: TypeAlias = sa.Select[Any]
# A row of a query; its columns are attributes.
StoredRow = sa.Row[Any]
AnyColumn: TypeAlias = sa.ColumnElement[Any]

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A time that is aware in Python and UTC in the database (SQLite stores no time zone)."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time needs a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _json(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=nullable)


_big_integer = sa.BigInteger().with_variant(sa.Integer, "sqlite")
# Sorted by bytes, as in Python, whatever the locale of the database.
_model_name = sa.String(100).with_variant(sa.String(100, collation="C"), "postgresql")

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant", sa.String(100), nullable=False),
    sa.Column("family", sa.String(100), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("stage", sa.String(50)),
    sa.Column("progress_pct", sa.Float),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("records_added", sa.Integer, nullable=False),
    sa.Column("records_skipped", sa.Integer, nullable=False),
    sa.Column("corrections", sa.Integer, nullable=False),
    _json("options"),
    _json("metrics"),
    sa.Column("promoted", sa.Boolean),
    _json("reasons"),
    sa.Column("message", sa.Text),
    sa.Column("backup", sa.String(100)),
    sa.Column("version", sa.Integer),
    _json("error"),
    sa.Column("training_time_seconds", sa.Float),
    _json("warnings"),
    _json("details"),
    sa.Column("uid", sa.String(36)),
    sa.Index(None, "tenant", "family", "name", "id"),
    sa.Index(None, "state"),
    sqlite_autoincrement=True,
)

session_events = sa.Table(
    "session_events",
    metadata,
    sa.Column("id", _big_integer, primary_key=True),
    sa.Column("session_id", sa.Integer, sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("event", sa.String(50), nullable=False),
    _json("data", nullable=False),
    sa.Index(None, "session_id", "id"),
    sqlite_autoincrement=True,
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant", sa.String(100), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("label", sa.String(200), nullable=False),
    sa.Column("prefix", sa.String(20), nullable=False),
    sa.Column("secret_sha256", sa.String(64), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("revoked_at", UtcDateTime),
    sa.Index(None, "prefix"),
    sqlite_autoincrement=True,
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("tenant", sa.String(100), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("route", sa.String(300), nullable=False),
    sa.Column("body_sha256", sa.String(64), nullable=False),
    sa.Column("owner", sa.String(16)),
    sa.Column("session_id", sa.Integer),
    sa.Column("status", sa.Integer),
    _json("headers"),
    sa.Column("body", sa.LargeBinary),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "created_at"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("process", sa.String(16), primary_key=True),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("beat_at", UtcDateTime, nullable=False),
)

_HAS_SESSION = sa.text("session_id IS NOT NULL")
training_decisions = sa.Table(
    "training_decisions",
    metadata,
    sa.Column("id", _big_integer, primary_key=True),
    sa.Column("tenant_id", sa.String(100), key="tenant", nullable=False),
    sa.Column("family", sa.String(100), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("run_id", sa.String(100), nullable=False),
    sa.Column("decided_at", UtcDateTime, nullable=False),
    sa.Column("action", sa.String(20), nullable=False),
    _json("reasons", nullable=False),
    _json("evidence", nullable=False),
    sa.Column("session_id", sa.Integer),
    sa.Index("uq_training_decisions_of_a_look", "tenant", "family", "name", "run_id", unique=True),
    sa.Index(
        "ix_training_decisions_that_started",
        *("tenant", "decided_at", "session_id"),
        sqlite_where=_HAS_SESSION,
        postgresql_where=_HAS_SESSION,
    ),
    sqlite_autoincrement=True,
)

scheduler_runs = sa.Table(
    "scheduler_runs",
    metadata,
    sa.Column("tick", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
)

home = sa.Table(
    "home",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("home_id", sa.String(36), nullable=False),
)

champions = sa.Table(
    "champions",
    metadata,
    sa.Column("tenant", _model_name, primary_key=True),
    sa.Column("family", _model_name, primary_key=True),
    sa.Column("name", _model_name, primary_key=True),
    sa.Column("version", sa.Integer),
    sa.Column("promoted_at", UtcDateTime),
    sa.Column("error", sa.Text),
    sa.Column("rejected_since", UtcDateTime),
    sa.Index("ix_champions_promoted_at", "tenant", "family", "promoted_at"),
    sa.Index("ix_champions_rejected_since", "tenant", "family", "rejected_since"),
)

champion_counts = sa.Table(
    "champion_counts",
    metadata,
    sa.Column("tenant", _model_name, primary_key=True),
    sa.Column("family", _model_name, primary_key=True),
    sa.Column("models", sa.Integer, nullable=False),
    sa.Column("champions", sa.Integer, nullable=False),
    sa.Column("damaged", sa.Integer, nullable=False),
    sa.Column("frozen", sa.Integer, nullable=False, server_default="0"),
    sa.Column("oldest_promoted_at", UtcDateTime),
)

champion_index = sa.Table(
    "champion_index",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
)

champion_history = sa.Table(
    "champion_history",
    metadata,
    sa.Column("tenant", _model_name, primary_key=True),
    sa.Column("family", _model_name, primary_key=True),
    sa.Column("name", _model_name, primary_key=True),
    sa.Column("promoted_at", UtcDateTime, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)

chosen_cases = sa.Table(
    "chosen_cases",
    metadata,
    sa.Column("tenant", _model_name, primary_key=True),
    sa.Column("family", _model_name, primary_key=True),
    sa.Column("name", _model_name, primary_key=True),
    _json("cases", nullable=False),
    sa.Column("chosen_by", sa.String(200), nullable=False),
    sa.Column("chosen_at", UtcDateTime, nullable=False),
)

kept_predictions = sa.Table(
    "kept_predictions",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("tenant", sa.String(100), nullable=False),
    sa.Column("family", sa.String(100), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("version_sha256", sa.String(64), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("inputs_sha256", sa.String(64), nullable=False),
    sa.Column("inputs", sa.LargeBinary, nullable=False),
    sa.Column("answers", sa.LargeBinary, nullable=False),
    sa.Index("ix_kept_predictions_tenant_id", "tenant", "id"),
    sa.Index("ix_kept_predictions_model", "tenant", "family", "name", "id"),
)
