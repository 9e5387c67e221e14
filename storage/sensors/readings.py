"""Readings: written in bulk, read by sensor and time as arrays, counted by a high-water mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from errors import InvalidContent, NotFound
from storage.db.crud import Row, Where
from storage.db.database import Database
from storage.db.watermark import WatermarkedTable
from storage.sensors.baseline import make_baseline
from storage.sensors.reading_block import ReadingBlock, insert
from storage.sensors.tables import readings, sensors

Array = NDArray[Any]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = 10
_FETCHED: Final = 50_000
_SENSORS: Final = 500
_INT64_MAX: Final = 2**63 - 1


def to_microseconds(from_microseconds: datetime) -> int:
    """An aware instant as microseconds since 1970."""
    return (from_microseconds - EPOCH) // timedelta(microseconds=1)


def from_microseconds(microseconds_since_1970: int) -> datetime:
    """The instant, in UTC."""
    return EPOCH + timedelta(microseconds=microseconds_since_1970)


@dataclass(frozen=True)
class StoredReadings:
    """Readings as the database holds them, in order of time.

    Parameters
    ----------
    ids, times : int64, shape (n,)
        Row numbers; microseconds since 1970.
    values : float64, shape (n,)
    """

    ids: Array
    times: Array
    values: Array


class Readings(WatermarkedTable):
    """The table ``readings``."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, readings, "reading")

    def ingest(self, tenant: str, block: ReadingBlock) -> int:
        """Write readings and bring their sensors up to date, in one durable transaction.

        The sensors must be the tenant's own. A sensor's value, drift and instant follow its latest
        reading by time, whenever it arrives.

        Returns
        -------
        int
            How many were written.

        Raises
        ------
        InvalidContent
            A value is not finite; nothing was written.
        """
        if not np.isfinite(block.values).all():
            raise InvalidContent("A reading's value must be a finite number")
        if len(block):
            with self.database.write() as connection:
                self.announce(connection)
                insert(connection, tenant, block)
                _follow(connection, tenant, block)
        return len(block)

    def update(self, tenant: str, row_id: int, values: Mapping[str, Any]) -> Row:
        """Mend a reading; its sensor follows where it was the latest.

        Raises
        ------
        NotFound
            No such reading, or another tenant's.
        """
        known = self.get(tenant, row_id)
        if values:
            with self.database.write() as connection:
                connection.execute(sa.update(readings).where(*self._mine(tenant, row_id)).values(**values))
                _follow_again(connection, known["sensor_id"])
        return self.get(tenant, row_id)

    def delete(self, tenant: str, row_id: int) -> None:
        """Delete a reading; its sensor goes back to the latest of those that are left.

        Raises
        ------
        NotFound
            No such reading, or another tenant's.
        """
        known = self.get(tenant, row_id)
        with self.database.write() as connection:
            connection.execute(sa.delete(readings).where(*self._mine(tenant, row_id)))
            _follow_again(connection, known["sensor_id"])

    def series(
        self,
        sensor_id: int,
        up_to: int = _INT64_MAX,
        since: int | None = None,
        until: int | None = None,
        latest: int | None = None,
    ) -> StoredReadings:
        """The readings of a sensor in order of time.

        Parameters
        ----------
        up_to : int
            A high-water mark; readings with a higher id are left out.
        since, until : int, optional
            Microseconds since 1970, both included.
        latest : int, optional
            At most so many, the latest of them.
        """
        where = [readings.c.sensor_id == sensor_id, readings.c.id <= up_to]
        where += [readings.c.timestamp >= since] if since is not None else []
        where += [readings.c.timestamp <= until] if until is not None else []
        columns = (readings.c.id, readings.c.timestamp, readings.c.raw_value)
        newest = (readings.c.timestamp.desc(), readings.c.id.desc())
        query = sa.select(*columns).where(*where).order_by(*newest).limit(latest)
        with self.database.read() as connection:
            rows = connection.execution_options(stream_results=True).execute(query).partitions(_FETCHED)
            parts = [_columns(part[::-1]) for part in rows]
        return _joined(parts[::-1])

    def page_by_time(
        self, tenant: str, sensor_id: int, where: Where = (), limit: int = 100, after: int = 0
    ) -> tuple[list[Row], int | None]:
        """One sensor's readings in order of time, and the id to go on after; None where there are no more.

        However many readings there are, a page reads no more of them than it shows.

        Raises
        ------
        InvalidContent
            The reading to go on after has been deleted.
        """
        mine = [readings.c.sensor_id == sensor_id, *where, *self._behind(tenant, after)]
        query = self.query(tenant, mine).order_by(readings.c.timestamp, readings.c.id).limit(limit + 1)
        with self.database.read() as connection:
            rows = [dict(row._mapping) for row in connection.execute(query)]
        return rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None

    def _behind(self, tenant: str, after: int) -> Where:
        """Conditions for what follows a reading in time."""
        if not after:
            return ()
        try:
            time = self.get(tenant, after)["timestamp"]
        except NotFound as error:
            raise InvalidContent("cursor: that reading has gone; start again without a cursor") from error
        later = sa.or_(readings.c.timestamp > time, readings.c.id > after)
        return (readings.c.timestamp >= time, later)

    def before(self, sensor_id: int, time: int, count: int) -> StoredReadings:
        """The last readings before an instant (microseconds since 1970), in order of time."""
        asked = {"sensor": sensor_id, "instant": time, "most": count}
        with self.database.read() as connection:
            rows = connection.execute(_BEFORE, asked).all()
        return _columns(rows[::-1])


_BEFORE: Final = (
    sa.select(readings.c.id, readings.c.timestamp, readings.c.raw_value)
    .where(readings.c.sensor_id == sa.bindparam("sensor"), readings.c.timestamp < sa.bindparam("instant"))
    .order_by(readings.c.timestamp.desc(), readings.c.id.desc())
    .limit(sa.bindparam("most"))
)
"""Made once: a detection waits for it."""


def _columns(rows: Sequence[Any]) -> StoredReadings:
    ids, times, values = zip(*rows, strict=True) if rows else ((), (), ())
    return StoredReadings(np.array(ids, np.int64), np.array(times, np.int64), np.array(values, np.float64))


def _joined(parts: Sequence[StoredReadings]) -> StoredReadings:
    if not parts:
        return _columns(())
    fields = ("ids", "times", "values")
    return StoredReadings(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def _follow(connection: sa.Connection, tenant: str, block: ReadingBlock) -> None:
    """Each sensor takes over its latest reading, unless it already knows a later one."""
    latest, first = _latest_and_first(block)
    known = _known(connection, tenant, latest.sensors.tolist())
    rows = zip(latest.sensors.tolist(), latest.times.tolist(), latest.values.tolist(), first, strict=True)
    changes = [
        _change(known[owner], time, value, mean) for owner, time, value, mean in rows if owner in known
    ]
    newer = [change for change in changes if change is not None]
    if newer:
        values: dict[str, Any] = {name: sa.bindparam(name) for name in newer[0] if name != "owner"}
        update = sa.update(sensors).where(sensors.c.id == sa.bindparam("owner")).values(**values)
        connection.execute(update, newer)


def _latest_and_first(block: ReadingBlock) -> tuple[ReadingBlock, list[float]]:
    """The latest reading of each sensor, and the mean of its first ten in this block."""
    order = np.lexsort((np.arange(len(block)), block.times, block.sensors))
    owner = block.sensors[order]
    ends = np.flatnonzero(np.append(owner[1:] != owner[:-1], True))
    starts = np.concatenate([[0], ends[:-1] + 1])
    values = block.values[order]
    bounds = zip(starts.tolist(), np.minimum(starts + _FIRST, ends + 1).tolist(), strict=True)
    return block.part(order[ends]), [float(values[a:b].mean()) for a, b in bounds]


def _known(connection: sa.Connection, tenant: str, ids: list[int]) -> dict[int, Any]:
    """The rows of these sensors, kept from other writers till the end; ascending, so none waits in a ring."""
    found = {}
    for start in range(0, len(ids), _SENSORS):
        chosen = sensors.c.id.in_(ids[start : start + _SENSORS])
        mine = sa.select(sensors).where(sensors.c.tenant == tenant, chosen)
        query = mine.order_by(sensors.c.id).with_for_update()
        found.update({row.id: row for row in connection.execute(query)})
    return found


def _change(sensor: Any, time: int, value: float, first: float) -> dict[str, Any] | None:
    """What a sensor's latest reading changes in its row; None where it already knows a later one."""
    if sensor.last_updated is not None and sensor.last_updated > from_microseconds(time):
        return None
    return {"owner": sensor.id, **_shows(sensor, time, value, first)}


def _follow_again(connection: sa.Connection, sensor_id: int) -> None:
    """A sensor takes over the latest reading there is, after one has changed or gone."""
    sensor = connection.execute(sa.select(sensors).where(sensors.c.id == sensor_id)).one_or_none()
    if sensor is None:
        return
    newest = (readings.c.timestamp.desc(), readings.c.id.desc())
    columns = (readings.c.timestamp, readings.c.raw_value)
    last = sa.select(*columns).where(readings.c.sensor_id == sensor_id).order_by(*newest).limit(1)
    row = connection.execute(last).one_or_none()
    silent = dict.fromkeys(("value", "last_updated", "silent_at", "drift"))
    shown = silent if row is None else _shows(sensor, row[0], row[1], row[1])
    connection.execute(sa.update(sensors).where(sensors.c.id == sensor_id).values(**shown))


def _shows(sensor: Any, time: int, value: float, first: float) -> dict[str, Any]:
    """What a sensor's row says of its latest reading."""
    at = from_microseconds(time)
    measured_from = first if sensor.baseline is None else sensor.baseline
    return {
        "value": value,
        "last_updated": at,
        "silent_at": at + timedelta(seconds=sensor.silence_seconds),
        "baseline": measured_from,
        "drift": make_baseline(measured_from, sensor.min_value, sensor.max_value).drift(value),
    }
