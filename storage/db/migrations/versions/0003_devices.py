"""Telemetry of devices and their failures; hypertables where TimescaleDB is."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_WEEK_IN_MICROSECONDS = 7 * 86_400 * 1_000_000


def _id() -> "sa.Column[int]":
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)


def _text(name: str, longest: int, nullable: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sa.String(longest), nullable=nullable)


def _event_time() -> "sa.Column[datetime]":
    return sa.Column("event_time", sa.DateTime(timezone=True), nullable=False)


def upgrade() -> None:
    op.create_table(
        "sensor_data",
        _id(),
        _text("tenant_id", 100),
        _text("device_id", 200),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("current_mean", sa.Float),
        sa.Column("vibration_x_mean", sa.Float),
        sa.Column("vibration_y_mean", sa.Float),
        sa.Column("vibration_z_mean", sa.Float),
        sa.Column("temperature_mean", sa.Float),
        sa.Column("extra", sa.JSON),
    )
    op.create_index(
        "ix_sensor_data_tenant_id_device_id_timestamp", "sensor_data", ["tenant_id", "device_id", "timestamp"]
    )
    op.create_table(
        "failure_events",
        _id(),
        _text("tenant_id", 100),
        _text("device_id", 200),
        _event_time(),
        _text("event_type", 100),
        _text("component_failed", 200, nullable=True),
        sa.Column("operating_hours_at_failure", sa.Float),
    )
    op.create_index(
        "ix_failure_events_tenant_id_device_id_event_time",
        "failure_events",
        ["tenant_id", "device_id", "event_time"],
    )
    if _has_timescale():
        _partition("sensor_data", "timestamp", str(_WEEK_IN_MICROSECONDS))
        _partition("failure_events", "event_time", "INTERVAL '1 year'")


def _has_timescale() -> bool:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return False
    asked = sa.text("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")
    return connection.execute(asked).scalar() is not None


def _partition(table: str, column: str, interval: str) -> None:
    """A hypertable's keys must name the column it is cut by."""
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT pk_{table}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY (id, {column})")
    op.execute(f"SELECT create_hypertable('{table}', '{column}', chunk_time_interval => {interval})")


def downgrade() -> None:
    op.drop_table("failure_events")
    op.drop_table("sensor_data")
