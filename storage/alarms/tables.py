"""The tables of alarms."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from storage.db.tables import UtcDateTime, metadata

SEVERITY_NAMES: Final = ("Low", "Medium", "High", "Critical")
EVENTS: Final = (
    "anomaly.opened",
    "anomaly.escalated",
    "anomaly.closed",
    "device.below_alarm_time",
    "device.recovered",
    "training.failed",
    "training.not_promoted",
    "drift.found",
    "drift.ended",
    "data.silent",
    "data.resumed",
    "backup.problem",
    "backup.recovered",
    "disk.nearly_full",
    "disk.recovered",
    "route.test",
)
# Alarms of the server itself, of its disk and its backups, belong to no family of models.
FAMILY_NAMES: Final = ("scoring", "sensors", "forecasting", "rul", "damage", "equipment", "server")
ROUTE_KINDS: Final = ("webhook", "mqtt", "apprise")
DELIVERY_STATES: Final = ("pending", "delivered", "dead")

_big = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_WAITS = sa.text("NOT routed")

alarms = sa.Table(
    "alarms",
    metadata,
    sa.Column("id", _big, primary_key=True),
    sa.Column("tenant", sa.String(100), nullable=False),
    sa.Column("event", sa.String(40), nullable=False),
    sa.Column("severity", sa.String(10), nullable=False),
    sa.Column("family", sa.String(100), nullable=False),
    sa.Column("subject", sa.String(300), nullable=False),
    sa.Column("tag", sa.String(200)),
    sa.Column("incident", sa.String(300), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("data", sa.JSON(none_as_null=True), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("routed", sa.Boolean, nullable=False),
    sa.Column("acknowledged_at", UtcDateTime),
    sa.Column("acknowledged_by", sa.String(200)),
    sa.Index(None, "tenant", "id"),
    sa.Index(None, "tenant", "incident"),
    sa.Index("ix_alarms_not_routed", "id", sqlite_where=_WAITS, postgresql_where=_WAITS),
    sqlite_autoincrement=True,
)

alarm_conditions = sa.Table(
    "alarm_conditions",
    metadata,
    sa.Column("tenant", sa.String(100), primary_key=True),
    sa.Column("event", sa.String(40), primary_key=True),
    sa.Column("subject", sa.String(300), primary_key=True),
    sa.Column("severity", sa.String(10), nullable=False),
    sa.Column("family", sa.String(100), nullable=False),
    sa.Column("tag", sa.String(200)),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("since", UtcDateTime, nullable=False),
)

alarm_routes = sa.Table(
    "alarm_routes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant", sa.String(100), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("username", sa.String(200)),
    sa.Column("secret", sa.Text),
    sa.Column("topic", sa.String(300)),
    sa.Column("events", sa.JSON(none_as_null=True), nullable=False),
    sa.Column("families", sa.JSON(none_as_null=True), nullable=False),
    sa.Column("subjects", sa.JSON(none_as_null=True), nullable=False),
    sa.Column("min_severity", sa.String(10), nullable=False),
    sa.Column("group_seconds", sa.Integer, nullable=False),
    sa.Column("quiet_hours", sa.JSON(none_as_null=True)),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("retry_at", UtcDateTime),
    sa.Column("last_error", sa.Text),
    sa.Column("last_success_at", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "tenant", "id"),
    sqlite_autoincrement=True,
)

alarm_deliveries = sa.Table(
    "alarm_deliveries",
    metadata,
    sa.Column("id", _big, primary_key=True),
    sa.Column("tenant", sa.String(100), nullable=False),
    sa.Column("route_id", sa.ForeignKey("alarm_routes.id", ondelete="CASCADE"), nullable=False),
    sa.Column("alarm_id", sa.ForeignKey("alarms.id", ondelete="CASCADE"), nullable=False),
    sa.Column("subject", sa.String(300), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", UtcDateTime, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("delivered_at", UtcDateTime),
    sa.Column("last_error", sa.Text),
    sa.Index("uq_alarm_deliveries_of_a_route", "route_id", "alarm_id", unique=True),
    sa.Index("ix_alarm_deliveries_queue", "route_id", "state", "alarm_id"),
    sa.Index("ix_alarm_deliveries_subject", "route_id", "state", "subject", "alarm_id"),
    sa.Index("ix_alarm_deliveries_list", "tenant", "state", "id"),
    sqlite_autoincrement=True,
)
