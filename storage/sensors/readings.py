"""Readings: written in bulk, read by sensor and time as arrays, bounded by a watermark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from errors import InvalidContent, NotFound
from storage.db.crud import Row, Where
from storage.db.database import Database
from storage.db.tables import StoredRow
from storage.db.watermark import WatermarkedTable
from storage.sensors.baseline import make_baseline
from storage.sensors.reading_block import Array, ReadingBlock, insert
from storage.sensors.tables import readings, sensors

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A sensor without a nominal value is measured from the mean of its first ten readings: fewer follow the noise.
_BASELINE_READINGS: Final = 10
_ROWS_PER_FETCH: Final = 50_000
_SENSORS_PER_QUERY: Final = 500
# SQLite joins at most 500 queries to one.
_SENSORS_PER_UNION: Final = 100
_INT64_MAX: Final = 2**63 - 1
# Built once: a detection waits for this statement.
_SELECT_BEFORE: Final = (
    sa.select(readings.c.id, readings.c.timestamp, readings.c.raw_value)
    .where(readings.c.sensor_id == sa.bindparam("sensor"), readings.c.timestamp < sa.bindparam("time"))
    .order_by(readings.c.timestamp.desc(), readings.c.id.desc())
    .limit(sa.bindparam("count"))
)


def to_microseconds(time: datetime) -> int:
    """Return an aware time as microseconds since 1970."""
    return (time - EPOCH) // timedelta(microseconds=1)


def from_microseconds(microseconds_since_1970: int) -> datetime:
    """Return the time in UTC."""
    return EPOCH + timedelta(microseconds=microseconds_since_1970)


@dataclass(frozen=True)
class StoredReadings:
    """Readings of one sensor as the database holds them, in order of time.

    Parameters
    ----------
    ids, times : int64, shape (n,)
        Row numbers; microseconds since 1970.
    values : float64, shape (n,)
    """

    ids: Array
    times: Array
    values: Array

    @classmethod
    def from_rows(cls, rows: Sequence[object]) -> StoredReadings:
        """Return rows of id, time and value as columns."""
        ids, times, values = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(np.array(ids, np.int64), np.array(times, np.int64), np.array(values, np.float64))


class Readings(WatermarkedTable):
    """The table ``readings``."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, readings, "reading")

    def ingest(self, tenant: str, block: ReadingBlock) -> int:
        """Write readings and update their sensors in one durable transaction; return how many were written.

        The sensors must be the tenant's own. A sensor's value, drift and time follow its latest reading by
        time, whenever that arrives.

        Raises
        ------
        InvalidContent
            A value is not finite; nothing was written.
        """
        if len(block):
            with self.database.write() as connection:
                self.ingest_with(connection, tenant, block)
        return len(block)

    def ingest_with(self, connection: sa.Connection, tenant: str, block: ReadingBlock) -> None:
        """Write readings as :meth:`ingest` does, in a transaction that the caller commits."""
        if not np.isfinite(block.values).all():
            raise InvalidContent("A reading's value must be a finite number")
        self.announce(connection)
        insert(connection, tenant, block)
        _update_sensors(connection, tenant, block)

    def update(self, tenant: str, row_id: int, values: Mapping[str, object]) -> Row:
        """Change a reading, and its sensor where it was the latest.

        Raises
        ------
        NotFound
            No such reading, or another tenant's.
        """
        row = self.get(tenant, row_id)
        if values:
            with self.database.write() as connection:
                connection.execute(sa.update(readings).where(*self._is_row(tenant, row_id)).values(**values))
                _refresh_sensor(connection, row["sensor_id"])
        return self.get(tenant, row_id)

    def delete(self, tenant: str, row_id: int) -> None:
        """Delete a reading; its sensor shows the latest of those that are left.

        Raises
        ------
        NotFound
            No such reading, or another tenant's.
        """
        row = self.get(tenant, row_id)
        with self.database.write() as connection:
            connection.execute(sa.delete(readings).where(*self._is_row(tenant, row_id)))
            _refresh_sensor(connection, row["sensor_id"])

    def series(
        self,
        sensor_id: int,
        up_to: int = _INT64_MAX,
        since: int | None = None,
        until: int | None = None,
        latest: int | None = None,
    ) -> StoredReadings:
        """Return the readings of a sensor in order of time.

        Parameters
        ----------
        up_to : int
            A watermark; readings with a higher id are left out.
        since, until : int, optional
            Microseconds since 1970, both included.
        latest : int, optional
            At most so many, the latest of them.
        """
        where = [readings.c.sensor_id == sensor_id, readings.c.id <= up_to]
        where += [readings.c.timestamp >= since] if since is not None else []
        where += [readings.c.timestamp <= until] if until is not None else []
        columns = (readings.c.id, readings.c.timestamp, readings.c.raw_value)
        newest_first = (readings.c.timestamp.desc(), readings.c.id.desc())
        query = sa.select(*columns).where(*where).order_by(*newest_first).limit(latest)
        with self.database.read() as connection:
            rows = connection.execution_options(stream_results=True).execute(query)
            # Part by part: half a million rows as Python tuples would take 20 times the memory of the arrays.
            parts = [StoredReadings.from_rows(part[::-1]) for part in rows.partitions(_ROWS_PER_FETCH)][::-1]
        if not parts:
            return StoredReadings.from_rows(())
        return StoredReadings(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.values for part in parts]),
        )

    def newest_values(self, sensor_ids: Sequence[int], count: int) -> dict[int, Array]:
        """Return the newest values of each sensor, in order of time, with one query for many sensors."""
        rows: list[StoredRow] = []
        with self.database.read() as connection:
            for start in range(0, len(sensor_ids), _SENSORS_PER_UNION):
                ids = sensor_ids[start : start + _SENSORS_PER_UNION]
                parameters = {f"sensor_{number}": sensor_id for number, sensor_id in enumerate(ids)}
                query = _select_newest_of(len(ids))
                rows += connection.execute(query, {**parameters, "count": count})
        values: dict[int, list[float]] = {sensor_id: [] for sensor_id in sensor_ids}
        for row in sorted(rows, key=lambda row: (row.sensor_id, row.timestamp)):
            values[row.sensor_id].append(row.raw_value)
        return {sensor_id: np.array(own, np.float64) for sensor_id, own in values.items()}

    def find_start(self, sensor_id: int, count: int) -> int | None:
        """Return the time of the reading from which on a sensor has so many; None where it has fewer."""
        query = (
            sa.select(readings.c.timestamp)
            .where(readings.c.sensor_id == sensor_id)
            .order_by(readings.c.timestamp.desc())
            .limit(1)
            .offset(count - 1)
        )
        with self.database.read() as connection:
            return connection.execute(query).scalar()

    def before(self, sensor_id: int, time: int, count: int) -> StoredReadings:
        """Return the last readings before a time (microseconds since 1970), in order of time."""
        with self.database.read() as connection:
            parameters = {"sensor": sensor_id, "time": time, "count": count}
            rows = connection.execute(_SELECT_BEFORE, parameters).all()
        return StoredReadings.from_rows(rows[::-1])

    def page_by_time(
        self,
        tenant: str,
        sensor_id: int,
        where: Where = (),
        limit: int = 100,
        after: int = 0,
        *,
        newest_first: bool = False,
    ) -> tuple[list[Row], int | None]:
        """Return one sensor's readings in order of time, and the id to continue after; None on the last page.

        A page reads no more readings than it shows, however many there are.

        Raises
        ------
        InvalidContent
            The reading to continue after has been deleted.
        """
        conditions = [readings.c.sensor_id == sensor_id, *where]
        if after:
            try:
                time = self.get(tenant, after)["timestamp"]
            except NotFound as error:
                raise InvalidContent("cursor: that reading has gone; start again without a cursor") from error
            # The first condition alone lets the database step along the index by time.
            if newest_first:
                conditions += [readings.c.timestamp <= time]
                conditions += [sa.or_(readings.c.timestamp < time, readings.c.id < after)]
            else:
                conditions += [readings.c.timestamp >= time]
                conditions += [sa.or_(readings.c.timestamp > time, readings.c.id > after)]
        columns: list[sa.ColumnElement[int]] = [readings.c.timestamp, readings.c.id]
        order = [column.desc() for column in columns] if newest_first else columns
        query = self.query(tenant, conditions).order_by(*order)
        return self.fetch_page(query, limit)


@cache
def _select_newest_of(sensor_count: int) -> sa.CompoundSelect[Any]:
    """Return a query for the newest readings of so many sensors: a step along the index for each."""
    newest = [
        sa.select(readings.c.sensor_id, readings.c.timestamp, readings.c.raw_value)
        .where(readings.c.sensor_id == sa.bindparam(f"sensor_{number}"))
        .order_by(readings.c.timestamp.desc(), readings.c.id.desc())
        .limit(sa.bindparam("count"))
        .subquery()
        for number in range(sensor_count)
    ]
    return sa.union_all(*(sa.select(part) for part in newest))


def _update_sensors(connection: sa.Connection, tenant: str, block: ReadingBlock) -> None:
    """Let each sensor show its latest reading of the block, unless it already shows a later one."""
    if not len(block):
        return
    # Stable by arrival: of readings with the same time, the last one counts.
    order = np.lexsort((np.arange(len(block)), block.times, block.sensors))
    ids, values = block.sensors[order], block.values[order]
    ends = np.flatnonzero(np.append(ids[1:] != ids[:-1], True))
    starts = np.concatenate([[0], ends[:-1] + 1])
    rows = _lock_sensors(connection, tenant, ids[ends].tolist())
    changes = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        sensor = rows.get(int(ids[end]))
        time = int(block.times[order[end]])
        if sensor is not None and _is_newer(sensor, time):
            first = float(values[start : min(start + _BASELINE_READINGS, end + 1)].mean())
            changes.append({"row_id": sensor.id, **_shown_columns(sensor, time, float(values[end]), first)})
    if changes:
        columns: dict[str, object] = {name: sa.bindparam(name) for name in changes[0] if name != "row_id"}
        statement = sa.update(sensors).where(sensors.c.id == sa.bindparam("row_id")).values(**columns)
        connection.execute(statement, changes)


def _lock_sensors(connection: sa.Connection, tenant: str, ids: list[int]) -> dict[int, StoredRow]:
    """Return the rows of these sensors, locked until the transaction ends."""
    rows = {}
    for start in range(0, len(ids), _SENSORS_PER_QUERY):
        is_wanted = sensors.c.id.in_(ids[start : start + _SENSORS_PER_QUERY])
        query = sa.select(sensors).where(sensors.c.tenant == tenant, is_wanted)
        # Always in ascending order, so that two transactions cannot wait for each other.
        locked = connection.execute(query.order_by(sensors.c.id).with_for_update())
        rows.update({row.id: row for row in locked})
    return rows


def _is_newer(sensor: StoredRow, time: int) -> bool:
    """Return whether a reading is at least as late as the one the sensor shows."""
    return sensor.last_updated is None or bool(sensor.last_updated <= from_microseconds(time))


def _refresh_sensor(connection: sa.Connection, sensor_id: int) -> None:
    """Let a sensor show the latest reading it has, after one was changed or deleted."""
    sensor = connection.execute(sa.select(sensors).where(sensors.c.id == sensor_id)).one_or_none()
    if sensor is None:
        return
    query = (
        sa.select(readings.c.timestamp, readings.c.raw_value)
        .where(readings.c.sensor_id == sensor_id)
        .order_by(readings.c.timestamp.desc(), readings.c.id.desc())
        .limit(1)
    )
    latest = connection.execute(query).one_or_none()
    if latest is None:
        columns: Row = dict.fromkeys(("value", "last_updated", "silent_at", "drift"))
    else:
        columns = _shown_columns(sensor, latest[0], latest[1], latest[1])
    connection.execute(sa.update(sensors).where(sensors.c.id == sensor_id).values(**columns))


def _shown_columns(sensor: StoredRow, time: int, value: float, first: float) -> Row:
    """Return the columns of a sensor that follow from its latest reading."""
    last_updated = from_microseconds(time)
    baseline = first if sensor.baseline is None else sensor.baseline
    return {
        "value": value,
        "last_updated": last_updated,
        "silent_at": last_updated + timedelta(seconds=sensor.silence_seconds),
        "baseline": baseline,
        "drift": make_baseline(baseline, sensor.min_value, sensor.max_value).drift(value),
    }
