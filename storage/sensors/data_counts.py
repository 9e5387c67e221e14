"""How much a tenant's sensors hold, told for all of them at once: who has enough to be trained."""

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
    """How far somebody looks: a sensor with millions of readings costs no more than one with so many.

    Parameters
    ----------
    count : int
        Readings are counted up to here.
    from_start, from_end : int
        Which reading in order of time is told with its time, counted from either end.
    calibration_from_end : int
        Which calibration is.
    """

    count: int
    from_start: int
    from_end: int
    calibration_from_end: int


@dataclass(frozen=True)
class SensorDataCount:
    """What one sensor holds; a time is in microseconds since 1970, None where there are fewer rows.

    Parameters
    ----------
    readings : int
        How many, as far as they were counted.
    early, late : int or None
        Times of the readings asked for, from the start and from the end.
    calibrations : int
        Made by hand.
    late_calibration : int or None
        The time of the calibration asked for.
    """

    readings: int = 0
    early: int | None = None
    late: int | None = None
    calibrations: int = 0
    late_calibration: int | None = None


def count_data(database: Database, tenant: str, asked: DataCountQuery) -> dict[int, SensorDataCount]:
    """What each of the tenant's sensors holds, by id in ascending order, in two statements."""
    with database.read() as connection:
        rows = connection.execute(_of_readings(tenant, asked))
        found = {sensor: SensorDataCount(*told) for sensor, *told in rows}
        for sensor, count, last in connection.execute(_of_calibrations(tenant, asked.calibration_from_end)):
            if sensor in found:
                at = None if last is None else to_microseconds(last)
                found[sensor] = replace(found[sensor], calibrations=count, late_calibration=at)
    return found


def _of_readings(tenant: str, asked: DataCountQuery) -> sa.Select[Any]:
    mine, time, row = readings.c.sensor_id == sensors.c.id, readings.c.timestamp, readings.c.id
    some = sa.select(sa.literal(1).label("one")).where(mine).limit(asked.count).correlate(sensors).subquery()
    count = sa.select(sa.func.count()).select_from(some).scalar_subquery()
    early = sa.select(time).where(mine).order_by(time, row).limit(1).offset(asked.from_start - 1)
    late = sa.select(time).where(mine).order_by(time.desc(), row.desc()).limit(1).offset(asked.from_end - 1)
    told = (sensors.c.id, count, early.scalar_subquery(), late.scalar_subquery())
    return sa.select(*told).where(sensors.c.tenant == tenant).order_by(sensors.c.id)


def _of_calibrations(tenant: str, from_end: int) -> sa.Select[Any]:
    order = (calibrations.c.applied_at.desc(), calibrations.c.id.desc())
    place = sa.func.row_number().over(partition_by=calibrations.c.sensor_id, order_by=order)
    list_manual = (calibrations.c.tenant == tenant, calibrations.c.source == SOURCE_MANUAL)
    columns = (calibrations.c.sensor_id, calibrations.c.applied_at, place.label("place"))
    placed = sa.select(*columns).where(*list_manual).subquery()
    late = sa.func.max(sa.case((placed.c.place == from_end, placed.c.applied_at)))
    typed = sa.type_coerce(late, calibrations.c.applied_at.type)
    return sa.select(placed.c.sensor_id, sa.func.count(), typed).group_by(placed.c.sensor_id)
