"""The tables of devices. Times of telemetry are microseconds since 1970, UTC."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from storage.db.tables import UtcDateTime, metadata

# Channels with a column of their own; others are stored in ``extra`` under their name.
CHANNELS: Final = (
    "current_mean",
    "vibration_x_mean",
    "vibration_y_mean",
    "vibration_z_mean",
    "temperature_mean",
)
# Types of event that end a run without a failure.
PLANNED_EVENTS: Final = frozenset({"maintenance", "replacement"})
# Types of event that do not end a run. Every other type is a failure.
NEUTRAL_EVENTS: Final = frozenset({"inspection"})


def normalise_event_type(event_type: str) -> str:
    """Return a known type in lower case and any other unchanged."""
    lower = event_type.lower()
    return lower if lower in PLANNED_EVENTS | NEUTRAL_EVENTS | {"failure"} else event_type


_big = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant_id", sa.String(100), key="tenant", nullable=False)


sensor_data = sa.Table(
    "sensor_data",
    metadata,
    sa.Column("id", _big, primary_key=True),
    _tenant(),
    sa.Column("device_id", sa.String(200), nullable=False),
    sa.Column("timestamp", sa.BigInteger, nullable=False),
    *(sa.Column(name, sa.Float) for name in CHANNELS),
    sa.Column("extra", sa.JSON(none_as_null=True)),
    sa.Index("ix_sensor_data_tenant_id_device_id_timestamp", "tenant", "device_id", "timestamp"),
)

failure_events = sa.Table(
    "failure_events",
    metadata,
    sa.Column("id", _big, primary_key=True),
    _tenant(),
    sa.Column("device_id", sa.String(200), nullable=False),
    sa.Column("event_time", UtcDateTime, nullable=False),
    sa.Column("event_type", sa.String(100), nullable=False),
    sa.Column("component_failed", sa.String(200)),
    sa.Column("operating_hours_at_failure", sa.Float),
    sa.Index("ix_failure_events_tenant_id_device_id_event_time", "tenant", "device_id", "event_time"),
)

_UNIQUE = ("tenant", "family", "name", "version", "device_id", "as_of")
predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("id", _big, primary_key=True),
    _tenant(),
    sa.Column("family", sa.String(100), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("device_id", sa.String(200), nullable=False),
    sa.Column("as_of", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("most", sa.Float, key="max_value", nullable=False),
    sa.Column("lower", sa.Float),
    sa.Column("upper", sa.Float),
    sa.Column("rows_used", sa.Integer, nullable=False),
    sa.Index("uq_predictions_of_a_moment", *_UNIQUE, unique=True),
)

asset_anomalies = sa.Table(
    "asset_anomalies",
    metadata,
    sa.Column("id", _big, primary_key=True),
    _tenant(),
    sa.Column("device_id", sa.String(200), nullable=False),
    sa.Column("model", sa.String(100), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("severity", sa.String(10), nullable=False),
    sa.Column("timestamp", UtcDateTime, nullable=False),
    sa.Column("last_seen", UtcDateTime, nullable=False),
    sa.Column("alarms", sa.Integer, nullable=False),
    sa.Column("max_score", sa.Float, nullable=False),
    sa.Column("min_health", sa.Float, nullable=False),
    sa.Column("condition", sa.Integer, nullable=False),
    sa.Column("contributions", sa.JSON(none_as_null=True), nullable=False),
    sa.Column("resolved", sa.Boolean, nullable=False),
    sa.Column("resolved_at", UtcDateTime),
    sa.Column("verdict", sa.String(20)),
    sa.Index("ix_asset_anomalies_tenant_id_model_timestamp", "tenant", "model", "timestamp"),
    sa.Index("ix_asset_anomalies_tenant_id_id", "tenant", "id"),
    sqlite_autoincrement=True,
)
