"""The tables of the sensor platform. A reading stores its time as microseconds since 1970, UTC."""

from __future__ import annotations

import sqlalchemy as sa

from storage.db.tables import UtcDateTime, metadata

# Presets: a sensor may be of any other type.
SENSOR_TYPES = ("Temperature", "Pressure", "Humidity", "Vibration", "Flow")
CALIBRATION_METHODS = ("linear", "polynomial", "custom")
ANOMALY_TYPES = ("Drift", "Spike", "Dropout", "Noise", "Calibration Error")
SEVERE = ("High", "Critical")

_big = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _sensor_id_column() -> sa.Column[int]:
    return sa.Column("sensor_id", sa.ForeignKey("sensors.id", ondelete="CASCADE"), nullable=False)


sensors = sa.Table(
    "sensors",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant", sa.String(100), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("tag", sa.String(200)),
    sa.Column("type", sa.String(50), nullable=False),
    sa.Column("unit", sa.String(50), nullable=False),
    sa.Column("value", sa.Float),
    sa.Column("nominal_value", sa.Float),
    sa.Column("baseline", sa.Float),
    sa.Column("min_value", sa.Float),
    sa.Column("max_value", sa.Float),
    sa.Column("drift", sa.Float),
    sa.Column("last_updated", UtcDateTime),
    sa.Column("silence_seconds", sa.Integer, nullable=False),
    sa.Column("silent_at", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "tenant", "id"),
    sa.Index("uq_sensors_tag", "tenant", "tag", unique=True),
    sqlite_autoincrement=True,
)

waiting_readings = sa.Table(
    "waiting_readings",
    metadata,
    sa.Column("id", _big, primary_key=True),
    sa.Column("tenant", sa.String(100), nullable=False),
    sa.Column("tag", sa.String(200), nullable=False),
    sa.Column("timestamp", sa.BigInteger, nullable=False),
    sa.Column("raw_value", sa.Float, nullable=False),
    sa.Index(None, "tenant", "tag"),
    sqlite_autoincrement=True,
)

readings = sa.Table(
    "readings",
    metadata,
    sa.Column("id", _big, primary_key=True),
    sa.Column("tenant", sa.String(100), nullable=False),
    sa.Column("sensor_id", sa.Integer, nullable=False),
    sa.Column("timestamp", sa.BigInteger, nullable=False),
    sa.Column("raw_value", sa.Float, nullable=False),
    sa.Index(None, "sensor_id", "timestamp"),
    sa.Index(None, "tenant", "id"),
)

calibrations = sa.Table(
    "calibrations",
    metadata,
    sa.Column("id", _big, primary_key=True),
    sa.Column("tenant", sa.String(100), nullable=False),
    _sensor_id_column(),
    sa.Column("method", sa.String(20), nullable=False),
    sa.Column("params", sa.JSON(none_as_null=True), nullable=False),
    sa.Column("corrected_value", sa.Float, nullable=False),
    sa.Column("applied_at", UtcDateTime, nullable=False),
    sa.Column("source", sa.String(10), nullable=False),
    sa.Index(None, "sensor_id", "applied_at"),
    sa.Index(None, "tenant", "id"),
    sqlite_autoincrement=True,
)

anomalies = sa.Table(
    "anomalies",
    metadata,
    sa.Column("id", _big, primary_key=True),
    sa.Column("tenant", sa.String(100), nullable=False),
    _sensor_id_column(),
    sa.Column("type", sa.String(20), nullable=False),
    sa.Column("severity", sa.String(10), nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("expected", sa.Float),
    sa.Column("deviation", sa.Float),
    sa.Column("timestamp", UtcDateTime, nullable=False),
    sa.Column("last_seen", UtcDateTime, nullable=False),
    sa.Column("readings", sa.Integer, nullable=False),
    sa.Column("resolved", sa.Boolean, nullable=False),
    sa.Column("resolved_at", UtcDateTime),
    sa.Column("verdict", sa.String(20)),
    sa.Column("source", sa.String(20), nullable=False),
    sa.Column("bands", sa.JSON(none_as_null=True)),
    sa.Index(None, "sensor_id", "timestamp"),
    sa.Index(None, "tenant", "id"),
    sqlite_autoincrement=True,
)
