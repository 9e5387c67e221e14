"""Anomalies: one row per episode, open until somebody resolves it, suspected until somebody gives a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TypedDict

import sqlalchemy as sa

from storage.alarms import record_alarms
from storage.db.crud import Row, TenantTable
from storage.db.database import Database
from storage.db.tables import utc_now
from storage.sensors.anomaly_alarms import describe_closed, describe_worse
from storage.sensors.tables import RELEASING_VERDICTS, SEVERE, SEVERITIES, anomalies

# A fault that lasts begins as a spike; a frozen or noisy sensor also leaves its usual level.
TYPE_RANKS = {"Spike": 0, "Drift": 1, "Calibration Error": 1, "Noise": 2, "Dropout": 3}


class AlarmBand(TypedDict):
    """The alarms of one type within an episode.

    ``low`` and ``high`` bound their deviations from the usual value; of repeated values they bound the values, and
    ``expected`` is None. ``expected`` is the usual value at ``time`` (seconds since 1970), by the model of then.
    """

    low: float
    high: float
    expected: float | None
    time: float


@dataclass
class Episode:
    """Anomalous readings of one sensor that follow each other closely.

    ``value``, ``expected`` and ``deviation`` are those of the most deviant reading. ``type`` is the most specific
    one: what lasts shows only after some readings. A single reading is an episode whose ``timestamp`` equals
    ``last_seen``. ``bands`` hold the alarms by their type.
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
    bands: dict[str, AlarmBand] = field(default_factory=dict)

    def is_followed_by(self, later: Episode, gap: timedelta) -> bool:
        """Return whether a later episode starts within ``gap`` of this one, and so belongs to it."""
        return self.timestamp - gap <= later.timestamp <= self.last_seen + gap

    def merge(self, later: Episode) -> None:
        """Take over the readings of another episode."""
        if TYPE_RANKS.get(later.type, 0) > TYPE_RANKS.get(self.type, 0):
            self.type = later.type
        if abs(later.deviation or 0.0) > abs(self.deviation or 0.0):
            self.value = later.value
            self.expected, self.deviation = later.expected, later.deviation
        self.severity = max(self.severity, later.severity, key=SEVERITIES.index)
        self.timestamp = min(self.timestamp, later.timestamp)
        self.last_seen = max(self.last_seen, later.last_seen)
        self.readings += later.readings
        for type_, band in later.bands.items():
            own = self.bands.setdefault(type_, band)
            own["low"], own["high"] = min(own["low"], band["low"]), max(own["high"], band["high"])


@dataclass(frozen=True)
class Release:
    """An episode that a person judged to be ordinary, with its alarms by type."""

    id: int
    bands: dict[str, AlarmBand]


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
        *,
        lasts: Callable[[Episode], bool] = lambda episode: False,
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
        lasts : callable
            Whether the sensor has not been back at its usual value between its open episode and the first of
            these; that episode then goes on, however long it was silent.
        """
        row_id, current = _select_open_episode(connection, tenant, sensor_id)
        ids, worse = [], []
        for position, episode in enumerate(episodes):
            if current is not None and (
                current.is_followed_by(episode, gap)
                or (position == 0 and current.last_seen < episode.timestamp and lasts(current))
            ):
                before = current.severity
                current.merge(episode)
                worse += [row_id] if current.severity != before else []
                # The source and all that people decide about an episode stay as they are.
                values = {name: value for name, value in asdict(current).items() if name != "source"}
                connection.execute(sa.update(anomalies).where(anomalies.c.id == row_id).values(**values))
            else:
                current = episode
                values = {**asdict(episode), "tenant": tenant, "sensor_id": sensor_id, "resolved": False}
                insert = sa.insert(anomalies).values(values).returning(anomalies.c.id)
                row_id = connection.execute(insert).scalar_one()
                worse.append(row_id)
            ids.append(row_id)
        record_alarms(connection, describe_worse(connection, tenant, worse))
        return ids

    def on_insert(self, connection: sa.Connection, tenant: str, ids: Sequence[int]) -> None:
        """Raise an alarm for what a person has reported, unless it is resolved already."""
        record_alarms(connection, describe_worse(connection, tenant, ids))

    def find_severe_sensors(self, tenant: str, sensor_ids: Sequence[int]) -> set[int]:
        """Return those of the sensors that have an open episode of high or critical severity."""
        query = (
            sa.select(anomalies.c.sensor_id)
            .distinct()
            .where(anomalies.c.tenant == tenant, anomalies.c.sensor_id.in_(sensor_ids))
            .where(anomalies.c.resolved.is_(False), anomalies.c.severity.in_(SEVERE))
        )
        with self.database.read() as connection:
            return set(connection.execute(query).scalars())

    def delete(self, tenant: str, row_id: int) -> None:
        """Delete an episode; one that raised an alarm and is open is closed with it."""
        self.get(tenant, row_id)
        with self.database.write() as connection:
            record_alarms(connection, describe_closed(connection, tenant, row_id, "was deleted"))
            connection.execute(sa.delete(anomalies).where(*self._is_row(tenant, row_id)))

    def resolve(self, tenant: str, row_id: int, decision: Mapping[str, object]) -> Row:
        """Close or reopen an episode (``resolved``) and record what it was (``verdict``), see :meth:`update`."""
        return self.update(tenant, row_id, decision)

    def update(self, tenant: str, row_id: int, values: Mapping[str, object]) -> Row:
        """Change an episode, and raise an alarm where that closes it, reopens it or makes it more severe.

        Models learn from its readings after the verdicts ``false_alarm`` and ``new_normal``, which also close it.
        They do not after ``confirmed`` nor after None, which withdraws a verdict.

        Raises
        ------
        NotFound
            No such episode, or another tenant's.
        """
        if not values:
            return self.get(tenant, row_id)
        with self.database.write() as connection:
            before = self._lock(connection, tenant, row_id)
            after = _complete_change(before, values)
            if after["resolved"] and not before["resolved"]:
                record_alarms(connection, describe_closed(connection, tenant, row_id, "was resolved"))
            connection.execute(sa.update(anomalies).where(*self._is_row(tenant, row_id)).values(**after))
            is_worse = SEVERITIES.index(after["severity"]) > SEVERITIES.index(before["severity"])
            if not after["resolved"] and (before["resolved"] or is_worse):
                record_alarms(connection, describe_worse(connection, tenant, [row_id]))
        return self.get(tenant, row_id)

    def _lock(self, connection: sa.Connection, tenant: str, row_id: int) -> Row:
        if self.may_exist(row_id):
            query = self.query(tenant, [anomalies.c.id == row_id]).with_for_update()
            row = connection.execute(query).one_or_none()
            if row is not None:
                return dict(row._mapping)
        raise self._not_found(row_id)

    def find_releases(self, sensor_id: int, since: datetime, limit: int) -> list[Release]:
        """Return the newest episodes since a time that a person judged to be ordinary."""
        query = (
            sa.select(anomalies.c.id, anomalies.c.bands)
            .where(
                anomalies.c.sensor_id == sensor_id,
                anomalies.c.verdict.in_(RELEASING_VERDICTS),
                anomalies.c.last_seen >= since,
            )
            .order_by(anomalies.c.last_seen.desc())
            .limit(limit)
        )
        with self.database.read() as connection:
            return [Release(row_id, bands or {}) for row_id, bands in connection.execute(query)]

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


def _complete_change(before: Row, values: Mapping[str, object]) -> Row:
    """Return an episode as a change leaves it, with what follows from the change."""
    after: Row = {**before, **values}
    if values.get("verdict") in RELEASING_VERDICTS:
        after["resolved"] = True
    if after["resolved"] != before["resolved"]:
        after["resolved_at"] = utc_now() if after["resolved"] else None
    after["last_seen"] = max(after["last_seen"], after["timestamp"])
    return after


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
    if row is None:
        return 0, None
    values = dict(row._mapping)
    # Rows of before 0.2.0 have no bands.
    return values.pop("id"), Episode(**{**values, "bands": values["bands"] or {}})
