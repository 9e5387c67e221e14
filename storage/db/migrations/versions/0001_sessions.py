"""Sessions and their events, API keys, idempotency keys and workers."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _instant(name: str, nullable: bool = True) -> "sa.Column[datetime]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(100), nullable=False),
        sa.Column("family", sa.String(100), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("stage", sa.String(50)),
        sa.Column("progress_pct", sa.Float),
        _instant("created_at", nullable=False),
        _instant("started_at"),
        _instant("ended_at"),
        sa.Column("records_added", sa.Integer, nullable=False),
        sa.Column("records_skipped", sa.Integer, nullable=False),
        sa.Column("corrections", sa.Integer, nullable=False),
        sa.Column("options", sa.JSON),
        sa.Column("metrics", sa.JSON),
        sa.Column("promoted", sa.Boolean),
        sa.Column("reasons", sa.JSON),
        sa.Column("message", sa.Text),
        sa.Column("backup", sa.String(100)),
        sa.Column("version", sa.Integer),
        sa.Column("error", sa.JSON),
        sa.Column("training_time_seconds", sa.Float),
        sa.Column("warnings", sa.JSON),
        sa.Column("details", sa.JSON),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sessions_tenant_family_name_id", "sessions", ["tenant", "family", "name", "id"])
    op.create_index("ix_sessions_state", "sessions", ["state"])
    op.create_table(
        "session_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("session_id", sa.Integer, sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
        _instant("created_at", nullable=False),
        sa.Column("event", sa.String(50), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_session_events_session_id_id", "session_events", ["session_id", "id"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(100), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("prefix", sa.String(20), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        _instant("created_at", nullable=False),
        _instant("revoked_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_api_keys_prefix", "api_keys", ["prefix"])
    op.create_table(
        "idempotency",
        sa.Column("tenant", sa.String(100), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("route", sa.String(300), nullable=False),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("owner_pid", sa.Integer, nullable=False),
        sa.Column("owner_start", sa.BigInteger, nullable=False),
        sa.Column("session_id", sa.Integer),
        sa.Column("status", sa.Integer),
        sa.Column("headers", sa.JSON),
        sa.Column("body", sa.LargeBinary),
        _instant("created_at", nullable=False),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])
    op.create_table(
        "workers",
        sa.Column("host", sa.String(255), primary_key=True),
        sa.Column("pid", sa.Integer, primary_key=True),
        sa.Column("started", sa.BigInteger, primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        _instant("beat_at", nullable=False),
    )


def downgrade() -> None:
    for table in ("workers", "idempotency", "api_keys", "session_events", "sessions"):
        op.drop_table(table)
