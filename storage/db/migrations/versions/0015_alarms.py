"""Alarms: the outbox, lasting conditions, routes and deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_time = sa.DateTime(timezone=True)


def _text(name: str, longest: int) -> "sa.Column[str]":
    return sa.Column(name, sa.String(longest), nullable=False)


def upgrade() -> None:
    waits = sa.text("NOT routed")
    op.create_table(
        "alarms",
        sa.Column("id", _big, primary_key=True),
        _text("tenant", 100),
        _text("event", 40),
        _text("severity", 10),
        _text("family", 100),
        _text("subject", 300),
        sa.Column("tag", sa.String(200)),
        _text("incident", 300),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("created_at", _time, nullable=False),
        sa.Column("routed", sa.Boolean, nullable=False),
        sa.Column("acknowledged_at", _time),
        sa.Column("acknowledged_by", sa.String(200)),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alarms_tenant_id", "alarms", ["tenant", "id"])
    op.create_index("ix_alarms_tenant_incident", "alarms", ["tenant", "incident"])
    op.create_index("ix_alarms_not_routed", "alarms", ["id"], sqlite_where=waits, postgresql_where=waits)
    op.create_table(
        "alarm_conditions",
        sa.Column("tenant", sa.String(100), primary_key=True),
        sa.Column("event", sa.String(40), primary_key=True),
        sa.Column("subject", sa.String(300), primary_key=True),
        _text("severity", 10),
        _text("family", 100),
        sa.Column("tag", sa.String(200)),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("since", _time, nullable=False),
    )
    op.create_table(
        "alarm_routes",
        sa.Column("id", sa.Integer, primary_key=True),
        _text("tenant", 100),
        _text("name", 200),
        _text("kind", 20),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("username", sa.String(200)),
        sa.Column("secret", sa.Text),
        sa.Column("topic", sa.String(300)),
        sa.Column("events", sa.JSON, nullable=False),
        sa.Column("families", sa.JSON, nullable=False),
        sa.Column("subjects", sa.JSON, nullable=False),
        _text("min_severity", 10),
        sa.Column("group_seconds", sa.Integer, nullable=False),
        sa.Column("quiet_hours", sa.JSON),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("retry_at", _time),
        sa.Column("last_error", sa.Text),
        sa.Column("last_success_at", _time),
        sa.Column("created_at", _time, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alarm_routes_tenant_id", "alarm_routes", ["tenant", "id"])
    op.create_table(
        "alarm_deliveries",
        sa.Column("id", _big, primary_key=True),
        _text("tenant", 100),
        sa.Column("route_id", sa.Integer, sa.ForeignKey("alarm_routes.id", ondelete="CASCADE"), nullable=False),
        sa.Column("alarm_id", _big, sa.ForeignKey("alarms.id", ondelete="CASCADE"), nullable=False),
        _text("subject", 300),
        _text("state", 20),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", _time, nullable=False),
        sa.Column("created_at", _time, nullable=False),
        sa.Column("delivered_at", _time),
        sa.Column("last_error", sa.Text),
        sqlite_autoincrement=True,
    )
    for name, columns, unique in (
        ("uq_alarm_deliveries_of_a_route", ["route_id", "alarm_id"], True),
        ("ix_alarm_deliveries_queue", ["route_id", "state", "alarm_id"], False),
        ("ix_alarm_deliveries_subject", ["route_id", "state", "subject", "alarm_id"], False),
        ("ix_alarm_deliveries_list", ["tenant", "state", "id"], False),
    ):
        op.create_index(name, "alarm_deliveries", columns, unique=unique)


def downgrade() -> None:
    for table in ("alarm_deliveries", "alarm_routes", "alarm_conditions", "alarms"):
        op.drop_table(table)
