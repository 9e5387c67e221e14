"""The alarms of anomalies, from their rows as the transaction that changes them sees them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from storage.alarms.outbox import Alarm
from storage.alarms.tables import alarms
from storage.db.tables import utc_now
from storage.sensors.tables import anomalies, sensors

# An import of last year's readings finds anomalies that nobody can do anything about now.
MAX_AGE: Final = timedelta(hours=24)
_IDS_PER_QUERY: Final = 500


def describe_worse(connection: sa.Connection, tenant: str, ids: Sequence[int]) -> list[Alarm]:
    """Return alarms of open episodes that are new, or have become more severe, within the last 24 hours."""
    return [
        _describe(row, "anomaly.escalated" if row.alarmed else "anomaly.opened", "")
        for row in _select(connection, tenant, list(dict.fromkeys(ids)))
        if not row.resolved and row.last_seen >= utc_now() - MAX_AGE
    ]


def describe_closed(connection: sa.Connection, tenant: str, row_id: int, what: str) -> list[Alarm]:
    """Return the alarm that ends those of an episode; none where it raised none, or is closed already."""
    return [
        _describe(row, "anomaly.closed", f" {what}")
        for row in _select(connection, tenant, [row_id])
        if row.alarmed and not row.resolved
    ]


def _select(connection: sa.Connection, tenant: str, ids: Sequence[int]) -> list[Any]:
    """Return episodes with the name and unit of their sensors, and whether they have raised an alarm."""
    rows: list[Any] = []
    incident = sa.literal("anomalies/") + sa.cast(anomalies.c.id, sa.String)
    alarmed = sa.exists().where(alarms.c.tenant == tenant, alarms.c.incident == incident)
    query = (
        sa.select(anomalies, sensors.c.name, sensors.c.unit, sensors.c.tag, alarmed.label("alarmed"))
        .join(sensors, sensors.c.id == anomalies.c.sensor_id)
        .where(anomalies.c.tenant == tenant)
        .order_by(anomalies.c.id)
    )
    for start in range(0, len(ids), _IDS_PER_QUERY):
        part = query.where(anomalies.c.id.in_(ids[start : start + _IDS_PER_QUERY]))
        rows += connection.execute(part).all()
    return rows


def _describe(row: Any, event: str, what: str) -> Alarm:
    unit = f" {row.unit}" if row.unit else ""
    expected = f", {row.expected:g} expected" if row.expected is not None else ""
    return Alarm(
        row.tenant,
        event,
        row.severity,
        "sensors",
        f"sensors/{row.sensor_id}",
        f"{row.type} of {row.name} (sensor {row.sensor_id}){what}: {row.value:g}{unit}{expected}, "
        f"{row.timestamp:%Y-%m-%d %H:%M:%S} UTC",
        tag=row.tag,
        incident=f"anomalies/{row.id}",
        data={
            "sensor_id": row.sensor_id,
            "anomaly_id": row.id,
            "type": row.type,
            "value": row.value,
            "expected": row.expected,
            "readings": row.readings,
        },
    )
