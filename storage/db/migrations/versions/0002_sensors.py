"""Sensors, readings, calibrations and anomalies."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _id() -> "sa.Column[int]":
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)


def _tenant() -> "sa.Column[str]":
    return sa.Column("tenant", sa.String(100), nullable=False)


def _sensor() -> "sa.Column[int]":
    return sa.Column("sensor_id", sa.Integer, sa.ForeignKey("sensors.id", ondelete="CASCADE"), nullable=False)


def _instant(name: str, nullable: bool = False) -> "sa.Column[datetime]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    _sensors()
    _readings()
    _calibrations()
    _anomalies()


def _sensors() -> None:
    op.create_table(
        "sensors",
        sa.Column("id", sa.Integer, primary_key=True),
        _tenant(),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("unit", sa.String(50), nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("nominal_value", sa.Float),
        sa.Column("baseline", sa.Float),
        sa.Column("min_value", sa.Float),
        sa.Column("max_value", sa.Float),
        sa.Column("drift", sa.Float),
        _instant("last_updated", nullable=True),
        sa.Column("silence_seconds", sa.Integer, nullable=False),
        _instant("silent_at", nullable=True),
        _instant("created_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sensors_tenant_id", "sensors", ["tenant", "id"])


def _readings() -> None:
    op.create_table(
        "readings",
        _id(),
        _tenant(),
        sa.Column("sensor_id", sa.Integer, nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("raw_value", sa.Float, nullable=False),
    )
    op.create_index("ix_readings_sensor_id_timestamp", "readings", ["sensor_id", "timestamp"])


def _calibrations() -> None:
    op.create_table(
        "calibrations",
        _id(),
        _tenant(),
        _sensor(),
        sa.Column("method", sa.String(20), nullable=False),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("corrected_value", sa.Float, nullable=False),
        _instant("applied_at"),
        sa.Column("source", sa.String(10), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_calibrations_sensor_id_applied_at", "calibrations", ["sensor_id", "applied_at"])
    op.create_index("ix_calibrations_tenant_id", "calibrations", ["tenant", "id"])


def _anomalies() -> None:
    op.create_table(
        "anomalies",
        _id(),
        _tenant(),
        _sensor(),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("severity", sa.String(10), nullable=False),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("expected", sa.Float),
        sa.Column("deviation", sa.Float),
        _instant("timestamp"),
        _instant("last_seen"),
        sa.Column("readings", sa.Integer, nullable=False),
        sa.Column("resolved", sa.Boolean, nullable=False),
        _instant("resolved_at", nullable=True),
        sa.Column("verdict", sa.String(20)),
        sa.Column("source", sa.String(20), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_anomalies_sensor_id_timestamp", "anomalies", ["sensor_id", "timestamp"])
    op.create_index("ix_anomalies_tenant_id", "anomalies", ["tenant", "id"])


def downgrade() -> None:
    for table in ("anomalies", "calibrations", "readings", "sensors"):
        op.drop_table(table)
