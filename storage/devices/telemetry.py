"""Telemetry: written in bulk, read device by device as arrays, whatever channels a device has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from storage.db.bulk_insert import insert_columns
from storage.db.crud import Row, Where
from storage.db.database import Database
from storage.db.watermark import WatermarkedTable
from storage.devices.device_patterns import device_conditions
from storage.devices.tables import CHANNELS, sensor_data

_ROWS_PER_FETCH: Final = 20_000
# SQLite allows 32,766 parameters a statement; 500 times keep statements short and few.
_TIMES_PER_QUERY: Final = 500
_INT64_MAX: Final = 2**63 - 1


@dataclass(frozen=True)
class TelemetryRows:
    """Telemetry to be stored, column by column.

    Parameters
    ----------
    devices : sequence of str
    times : sequence of int
        Microseconds since 1970-01-01 UTC.
    channels : sequence of mapping
        Values by channel, one mapping for each row; absent channels are unknown.
    """

    devices: Sequence[str]
    times: Sequence[int]
    channels: Sequence[Mapping[str, float]]

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[str, int, Mapping[str, float]]]) -> TelemetryRows:
        """Return rows of device, time and channels column by column."""
        return cls(*zip(*rows, strict=True)) if rows else cls((), (), ())

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class DeviceTelemetry:
    """One device's stored telemetry in order of time.

    Parameters
    ----------
    ids, times : int64, shape (n,)
        Row numbers; microseconds since 1970.
    channels : tuple of str
        Names of the columns of ``values``: those with any value.
    values : float64, shape (n, channels)
        NaN where a row has no value of a channel.
    """

    device_id: str
    ids: NDArray[np.int64]
    times: NDArray[np.int64]
    channels: tuple[str, ...]
    values: NDArray[np.float64]

    @classmethod
    def empty(cls, device_id: str) -> DeviceTelemetry:
        """Return the telemetry of a device that has sent none."""
        none = np.zeros(0, dtype=np.int64)
        return cls(device_id, none, none, (), np.zeros((0, 0)))

    def __len__(self) -> int:
        return len(self.times)

    def select(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> DeviceTelemetry:
        """Return some of the rows."""
        return DeviceTelemetry(
            self.device_id, self.ids[rows], self.times[rows], self.channels, self.values[rows]
        )


class Telemetry(WatermarkedTable):
    """The table ``sensor_data``."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, sensor_data, "row of telemetry")

    def ingest(self, tenant: str, rows: TelemetryRows) -> int:
        """Write rows in one durable transaction and return their number."""
        if len(rows):
            with self.database.write() as connection:
                self.ingest_with(connection, tenant, rows)
        return len(rows)

    def ingest_with(self, connection: sa.Connection, tenant: str, rows: TelemetryRows) -> None:
        """Write rows as `ingest` does, in a transaction that the caller commits."""
        columns: dict[str, Sequence[Any]] = {"device_id": rows.devices, "timestamp": rows.times}
        columns |= {name: [row.get(name) for row in rows.channels] for name in CHANNELS}
        columns["extra"] = [_encode_extra(row) for row in rows.channels]
        self.announce(connection)
        insert_columns(connection, "sensor_data", tenant, columns)

    def devices(self, tenant: str) -> list[str]:
        """Return every device with telemetry, ordered by name."""
        column = sensor_data.c.device_id
        query = sa.select(column).where(sensor_data.c.tenant == tenant).distinct().order_by(column)
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    def devices_after(self, tenant: str, watermark: int, limit: int) -> list[str]:
        """Return devices with rows above a high-water mark, those with the newest rows first."""
        column, newest = sensor_data.c.device_id, sa.func.max(sensor_data.c.id)
        query = sa.select(column).where(sensor_data.c.tenant == tenant, sensor_data.c.id > watermark)
        with self.database.read() as connection:
            return list(
                connection.execute(query.group_by(column).order_by(newest.desc()).limit(limit)).scalars()
            )

    def span(self, tenant: str, device_id: str) -> tuple[int, int] | None:
        """Return the first and last instant of a device's telemetry; None where there is none."""
        times = sensor_data.c.timestamp
        query = sa.select(sa.func.min(times), sa.func.max(times)).where(*_is_device(tenant, device_id))
        with self.database.read() as connection:
            first, last = connection.execute(query).one()
        return None if first is None else (first, last)

    def stream(
        self,
        tenant: str,
        devices: Sequence[str] | None = None,
        start: int | None = None,
        end: int | None = None,
        up_to: int = _INT64_MAX,
    ) -> Iterator[DeviceTelemetry]:
        """Yield devices in order of their names, from one query; only one is in memory at a time.

        Parameters
        ----------
        start, end : int, optional
            Microseconds since 1970, both included.
        up_to : int
            A high-water mark; rows with a higher id are left out.
        """
        where = [sensor_data.c.tenant == tenant, *device_conditions(sensor_data.c.device_id, devices)]
        where += _is_between(start, end, up_to)
        order = (sensor_data.c.device_id, sensor_data.c.timestamp, sensor_data.c.id)
        query = sa.select(*_COLUMNS).where(*where).order_by(*order)
        with self.database.read() as connection:
            rows = connection.execute(query, execution_options={"yield_per": _ROWS_PER_FETCH})
            for device_id, device_rows in groupby(rows, key=itemgetter(0)):
                yield _to_telemetry(device_id, device_rows)

    def latest(
        self,
        tenant: str,
        device_id: str,
        count: int,
        *,
        start: int | None = None,
        end: int | None = None,
        up_to: int = _INT64_MAX,
    ) -> DeviceTelemetry:
        """Return the last rows of a device, in order of time; parameters as in :meth:`stream`."""
        newest = (sensor_data.c.timestamp.desc(), sensor_data.c.id.desc())
        where = [*_is_device(tenant, device_id), *_is_between(start, end, up_to)]
        query = sa.select(*_COLUMNS).where(*where).order_by(*newest).limit(count)
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return _to_telemetry(device_id, rows[::-1])

    def count_rows(
        self,
        tenant: str,
        device_id: str,
        *,
        start: int | None = None,
        end: int | None = None,
        up_to: int = _INT64_MAX,
    ) -> int:
        """Return the number of a device's rows; parameters as in :meth:`stream`."""
        return self.count(tenant, [*_is_device(tenant, device_id), *_is_between(start, end, up_to)])

    def find_known_times(self, tenant: str, device_id: str, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of the times that a stored row of a device has, in no order.

        It asks for the times themselves: between the first and the last of them may lie years of rows.
        """
        own, known = _is_device(tenant, device_id), list[int]()
        with self.database.read() as connection:
            for start in range(0, len(times), _TIMES_PER_QUERY):
                is_given = sensor_data.c.timestamp.in_(times[start : start + _TIMES_PER_QUERY].tolist())
                query = sa.select(sensor_data.c.timestamp).distinct().where(*own, is_given)
                known += connection.execute(query).scalars()
        return np.array(known, np.int64)

    def read_with_context(
        self, tenant: str, device_id: str, start: int, end: int, *, context: int, max_rows: int
    ) -> DeviceTelemetry:
        """Return the first rows of a device in a period, after the last ``context`` rows before it.

        Parameters
        ----------
        start, end : int
            Microseconds since 1970, both included.
        """
        times = sensor_data.c.timestamp
        own = sa.select(*_COLUMNS).where(*_is_device(tenant, device_id))
        newest = (times.desc(), sensor_data.c.id.desc())
        before = own.where(times < start).order_by(*newest).limit(context)
        inside = own.where(times >= start, times <= end).order_by(times, sensor_data.c.id).limit(max_rows)
        with self.database.read() as connection:
            rows = [*connection.execute(before).all()[::-1], *connection.execute(inside).all()]
        return _to_telemetry(device_id, rows)

    def first_after(self, tenant: str, device_id: str, time: int) -> int:
        """Return the time of a device's first row after another (microseconds since 1970); 0 without one."""
        times = sensor_data.c.timestamp
        query = sa.select(sa.func.min(times)).where(*_is_device(tenant, device_id), times > time)
        with self.database.read() as connection:
            return connection.execute(query).scalar() or 0

    def remove(self, tenant: str, where: Where) -> int:
        """Delete the tenant's rows that fulfil every condition and return their number."""
        conditions = [sensor_data.c.tenant == tenant, *where]
        with self.database.write() as connection:
            return int(connection.execute(sa.delete(sensor_data).where(*conditions)).rowcount)


_COLUMNS = (
    sensor_data.c.device_id,
    sensor_data.c.id,
    sensor_data.c.timestamp,
    *(sensor_data.c[name] for name in CHANNELS),
    sensor_data.c.extra,
)


def merge_channels(row: Row) -> dict[str, float]:
    """Return the values of a stored row by channel, including those without a column of their own."""
    own = {name: row[name] for name in CHANNELS if row[name] is not None}
    return {**own, **(row["extra"] or {})}


def _is_device(tenant: str, device_id: str) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of one device; unlike patterns, its name may end in ``*``."""
    return [sensor_data.c.tenant == tenant, sensor_data.c.device_id == device_id]


def _is_between(start: int | None, end: int | None, up_to: int = _INT64_MAX) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a period, both ends included, and of rows up to an id."""
    where = [sensor_data.c.id <= up_to] if up_to < _INT64_MAX else []
    where += [sensor_data.c.timestamp >= start] if start is not None else []
    where += [sensor_data.c.timestamp <= end] if end is not None else []
    return where


def _encode_extra(row: Mapping[str, float]) -> str | None:
    """Return the channels without a column of their own as stored JSON."""
    extra = {name: value for name, value in row.items() if name not in CHANNELS}
    return json.dumps(extra, separators=(",", ":"), allow_nan=False) if extra else None


def _to_telemetry(device_id: str, rows: Iterable[Any]) -> DeviceTelemetry:
    fetched = list(rows)
    count = len(fetched)
    ids = np.fromiter((row[1] for row in fetched), np.int64, count)
    times = np.fromiter((row[2] for row in fetched), np.int64, count)
    own = np.array([row[3:-1] for row in fetched], dtype=np.float64).reshape(count, len(CHANNELS))
    used = [column for column in range(len(CHANNELS)) if np.isfinite(own[:, column]).any()]
    names = sorted({name for row in fetched if row[-1] for name in row[-1]})
    extra = np.full((count, len(names)), np.nan)
    for number, row in enumerate(fetched):
        if row[-1]:
            extra[number] = [row[-1].get(name, np.nan) for name in names]
    channels = (*(CHANNELS[column] for column in used), *names)
    return DeviceTelemetry(device_id, ids, times, channels, np.hstack([own[:, used], extra]))
