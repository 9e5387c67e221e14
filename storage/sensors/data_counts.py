"""Count what all sensors of a tenant hold, in two statements: which of them have enough data to train."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from storage.db.database import Database
from storage.sensors.calibrations import SOURCE_MANUAL
from storage.sensors.readings import to_microseconds
from storage.sensors.tables import calibrations, readings, sensors


@dataclass(frozen=True)
class DataCountQuery:
    """How far to count: a sensor with millions of readings costs no more than one with ``max_readings``.

    Parameters
    ----------
    max_readings : int
        Readings are counted up to here.
    nth_first, nth_last : int
        Which readings in order of time, counted from either end, to return the times of.
    nth_last_calibration : int
        Which calibration, counted from the latest, to return the time of.
    """

    max_readings: int
    nth_first: int
    nth_last: int
    nth_last_calibration: int


@dataclass(frozen=True)
class SensorDataCount:
    """What one sensor holds. Times are in microseconds since 1970, None where there are fewer rows.

    Parameters
    ----------
    readings : int
        Number of readings, up to ``max_readings``.
    nth_first, nth_last : int or None
        Times of the readings of the query.
    calibrations : int
        Number of calibrations made by people.
    nth_last_calibration : int or None
        Time of the calibration of the query.
    """

    readings: int = 0
    nth_first: int | None = None
    nth_last: int | None = None
    calibrations: int = 0
    nth_last_calibration: int | None = None


def count_data(database: Database, tenant: str, query: DataCountQuery) -> dict[int, SensorDataCount]:
    """Return what each of the tenant's sensors holds, by id in ascending order."""
    with database.read() as connection:
        rows = connection.execute(_select_reading_counts(tenant, query))
        counts = {sensor_id: SensorDataCount(*columns) for sensor_id, *columns in rows}
        calibration_rows = connection.execute(_select_calibration_counts(tenant, query.nth_last_calibration))
        for sensor_id, count, time in calibration_rows:
            if sensor_id in counts:
                nth_last = None if time is None else to_microseconds(time)
                counts[sensor_id] = replace(
                    counts[sensor_id], calibrations=count, nth_last_calibration=nth_last
                )
    return counts


def _select_reading_counts(tenant: str, query: DataCountQuery) -> sa.Select[Any]:
    """Return one row per sensor; each subquery steps along the index (sensor_id, timestamp) and stops early."""
    time, row_id = readings.c.timestamp, readings.c.id
    is_own = readings.c.sensor_id == sensors.c.id
    capped = sa.select(sa.literal(1).label("row")).where(is_own).limit(query.max_readings)
    count = sa.select(sa.func.count()).select_from(capped.correlate(sensors).subquery())
    first = sa.select(time).where(is_own).order_by(time, row_id).limit(1).offset(query.nth_first - 1)
    newest_first = (time.desc(), row_id.desc())
    last = sa.select(time).where(is_own).order_by(*newest_first).limit(1).offset(query.nth_last - 1)
    columns = [subquery.scalar_subquery() for subquery in (count, first, last)]
    return sa.select(sensors.c.id, *columns).where(sensors.c.tenant == tenant).order_by(sensors.c.id)


def _select_calibration_counts(tenant: str, nth_last: int) -> sa.Select[Any]:
    newest_first = (calibrations.c.applied_at.desc(), calibrations.c.id.desc())
    rank = sa.func.row_number().over(partition_by=calibrations.c.sensor_id, order_by=newest_first)
    ranked = (
        sa.select(calibrations.c.sensor_id, calibrations.c.applied_at, rank.label("rank"))
        .where(calibrations.c.tenant == tenant, calibrations.c.source == SOURCE_MANUAL)
        .subquery()
    )
    time = sa.func.max(sa.case((ranked.c.rank == nth_last, ranked.c.applied_at)))
    # max() loses the column's type, which turns SQLite's text into an aware datetime.
    typed_time = sa.type_coerce(time, calibrations.c.applied_at.type)
    return sa.select(ranked.c.sensor_id, sa.func.count(), typed_time).group_by(ranked.c.sensor_id)
