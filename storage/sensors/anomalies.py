"""Anomalies: one row per episode, open until somebody resolves it, suspected until somebody gives a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from storage.db.crud import Row, TenantTable
from storage.db.database import Database
from storage.db.tables import utc_now
from storage.sensors.tables import SEVERITIES, anomalies


@dataclass
class Episode:
    """Anomalous readings of one sensor that follow each other closely.

    ``type``, ``value``, ``expected`` and ``deviation`` are those of the most deviant reading. A single reading
    is an episode whose ``timestamp`` equals ``last_seen``.
    """

    type: str
    severity: str
    value: float
    expected: float | None
    deviation: float | None
    timestamp: datetime
    last_seen: datetime
    source: str
    readings: int = 1

    def is_followed_by(self, later: Episode, gap: timedelta) -> bool:
        """Return whether a later episode starts within ``gap`` of this one, and so belongs to it."""
        return self.timestamp - gap <= later.timestamp <= self.last_seen + gap

    def merge(self, later: Episode) -> None:
        """Take over the readings of another episode."""
        if abs(later.deviation or 0.0) > abs(self.deviation or 0.0):
            self.type, self.value = later.type, later.value
            self.expected, self.deviation = later.expected, later.deviation
        self.severity = max(self.severity, later.severity, key=SEVERITIES.index)
        self.timestamp = min(self.timestamp, later.timestamp)
        self.last_seen = max(self.last_seen, later.last_seen)
        self.readings += later.readings


class Anomalies(TenantTable):
    """The table ``anomalies``.

    An anomalous reading soon after another one extends its episode, so a fault that lasts for a week is one row
    to look at and one decision to make.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database, anomalies, "anomaly")

    def record(
        self,
        connection: sa.Connection,
        tenant: str,
        sensor_id: int,
        episodes: Sequence[Episode],
        gap: timedelta,
    ) -> list[int]:
        """Store episodes of one sensor and return the id of the row that holds each.

        Parameters
        ----------
        connection : Connection
            An open write transaction: the caller commits the anomalies together with their readings.
        episodes : sequence of Episode
            In order of time. One that follows the sensor's open episode extends it.
        gap : timedelta
            Time without an anomalous reading after which an episode is over.
        """
        row_id, current = _select_open_episode(connection, tenant, sensor_id)
        ids = []
        for episode in episodes:
            if current is not None and current.is_followed_by(episode, gap):
                current.merge(episode)
                # The source and all that people decide about an episode stay as they are.
                values = {name: value for name, value in asdict(current).items() if name != "source"}
                connection.execute(sa.update(anomalies).where(anomalies.c.id == row_id).values(**values))
            else:
                current = episode
                values = {**asdict(episode), "tenant": tenant, "sensor_id": sensor_id, "resolved": False}
                insert = sa.insert(anomalies).values(values).returning(anomalies.c.id)
                row_id = connection.execute(insert).scalar_one()
            ids.append(row_id)
        return ids

    def resolve(self, tenant: str, row_id: int, decision: Mapping[str, Any]) -> Row:
        """Close or reopen an episode (``resolved``) and record what it was (``verdict``).

        Models learn from its readings after ``false_alarm`` and ``new_normal``. They do not after ``confirmed``
        nor after None, which withdraws a verdict.
        """
        closed = (
            {"resolved_at": utc_now() if decision["resolved"] else None} if "resolved" in decision else {}
        )
        return self.update(tenant, row_id, {**decision, **closed})

    def suspected(self, sensor_id: int) -> list[tuple[datetime, datetime]]:
        """Return the periods that models must not learn from, oldest first."""
        is_suspected = sa.or_(anomalies.c.verdict.is_(None), anomalies.c.verdict == "confirmed")
        query = (
            sa.select(anomalies.c.timestamp, anomalies.c.last_seen)
            .where(anomalies.c.sensor_id == sensor_id, is_suspected)
            .order_by(anomalies.c.timestamp)
        )
        with self.database.read() as connection:
            return [(row[0], row[1]) for row in connection.execute(query)]


def _select_open_episode(
    connection: sa.Connection, tenant: str, sensor_id: int
) -> tuple[int, Episode | None]:
    """Return the newest episode without a resolution or verdict; the row stays locked, so it gets none now."""
    columns = [anomalies.c[name] for name in Episode.__dataclass_fields__]
    query = (
        sa.select(anomalies.c.id, *columns)
        .where(
            anomalies.c.tenant == tenant,
            anomalies.c.sensor_id == sensor_id,
            anomalies.c.resolved.is_(False),
            anomalies.c.verdict.is_(None),
        )
        .order_by(anomalies.c.last_seen.desc())
        .limit(1)
        .with_for_update()
    )
    row = connection.execute(query).one_or_none()
    return (0, None) if row is None else (row[0], Episode(*row[1:]))
