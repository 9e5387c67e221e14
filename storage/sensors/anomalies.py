"""Anomalies: one row per episode, open until somebody resolves it, suspected until somebody gives a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import NotRequired, TypedDict

import sqlalchemy as sa

from storage.alarms import Alarm
from storage.alarms.episode_table import RELEASING_VERDICTS, EpisodeTable
from storage.alarms.tables import SEVERITY_NAMES
from storage.db.database import Database
from storage.db.tables import AnySelect, StoredRow
from storage.sensors.tables import SEVERE, anomalies, sensors

# A fault that lasts begins as a spike; a frozen or noisy sensor also leaves its usual level.
TYPE_RANKS = {"Spike": 0, "Drift": 1, "Calibration Error": 1, "Noise": 2, "Dropout": 3}


class AlarmBand(TypedDict):
    """The alarms of one type within an episode.

    ``low`` and ``high`` bound their deviations from the usual value; of repeated values they bound the values, and
    ``expected`` is None. ``expected`` is the usual value at ``time`` (seconds since 1970), by the ``version`` of the
    model of then; None is the fallback rule. Rows of earlier versions of Millwright have no ``version``.
    """

    low: float
    high: float
    expected: float | None
    time: float
    version: NotRequired[int | None]


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
        self.severity = max(self.severity, later.severity, key=SEVERITY_NAMES.index)
        self.timestamp = min(self.timestamp, later.timestamp)
        self.last_seen = max(self.last_seen, later.last_seen)
        self.readings += later.readings
        for type_, band in later.bands.items():
            self.bands[type_] = _merge_bands(self.bands.get(type_, band), band)


def _merge_bands(own: AlarmBand, later: AlarmBand) -> AlarmBand:
    """Return the bounds of two bands; where these have different references, one of them alone.

    Deviations from different usual values say nothing about each other: those from the newer one are for readings
    like the latest.
    """
    has_values = own["expected"] is None, later["expected"] is None
    if any(has_values) and not all(has_values):
        return later if has_values[0] else own
    if not any(has_values) and own.get("version") != later.get("version"):
        return later
    return {**own, "low": min(own["low"], later["low"]), "high": max(own["high"], later["high"])}


@dataclass(frozen=True)
class Release:
    """An episode that a person judged to be ordinary, with its alarms by type."""

    id: int
    bands: dict[str, AlarmBand]


class Anomalies(EpisodeTable):
    """The table ``anomalies``.

    An anomalous reading soon after another one extends its episode, so a fault that lasts for a week is one row
    to look at and one decision to make.
    """

    incidents = "anomalies"

    def __init__(self, database: Database) -> None:
        super().__init__(database, anomalies, "anomaly")

    def query_episodes(self) -> AnySelect:
        """Return a query for all episodes, with the name, unit and tag of their sensors."""
        columns = (anomalies, sensors.c.name, sensors.c.unit, sensors.c.tag)
        return sa.select(*columns).join(sensors, sensors.c.id == anomalies.c.sensor_id)

    def describe(self, row: StoredRow, event: str, what: str) -> Alarm:
        """Return the alarm of an episode."""
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
            incident=f"{self.incidents}/{row.id}",
            data={
                "sensor_id": row.sensor_id,
                "anomaly_id": row.id,
                "type": row.type,
                "value": row.value,
                "expected": row.expected,
                "readings": row.readings,
            },
        )

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
        self.record_worse(connection, tenant, worse)
        return ids

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
