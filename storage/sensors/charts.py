"""Readings for charts, thinned by the database: a page needs a few thousand points, not every reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from storage.db.database import Database
from storage.db.tables import AnySelect
from storage.sensors.tables import readings

MAX_CHART_COLUMNS: Final = 1_000


@dataclass(frozen=True)
class ChartColumns:
    """One sensor's readings by the pixel columns of a chart, in order of time; empty columns are left out.

    Every array has the shape (n,). A column with a single reading has equal times and equal values.

    Parameters
    ----------
    first, last : int64
        Times of a column's first and last reading, in microseconds since 1970.
    low, high : float64
        The smallest and the largest of its readings.
    count : int64
        Number of its readings.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    count: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.count)


def read_chart(
    database: Database,
    sensor_id: int,
    columns: int = MAX_CHART_COLUMNS,
    since: int | None = None,
    until: int | None = None,
) -> ChartColumns:
    """Return the smallest and the largest reading of every pixel column, two points for each.

    No extreme is lost: a spike of a single reading shows, however long the period.

    Parameters
    ----------
    columns : int
        Number of pixel columns, at most `MAX_CHART_COLUMNS`.
    since, until : int, optional
        Microseconds since 1970, both included; by default, from the first reading to the last one.

    Raises
    ------
    ValueError
        ``columns`` is out of range.
    """
    if not 1 <= columns <= MAX_CHART_COLUMNS:
        raise ValueError(f"A chart has 1 to {MAX_CHART_COLUMNS} columns, not {columns}")
    with database.read() as connection:
        start, end = (
            connection.execute(_select_edge(sensor_id, since, until, newest)).scalar()
            for newest in (False, True)
        )
        rows: Sequence[Any] = ()
        if start is not None and end is not None:
            rows = connection.execute(_select_columns(sensor_id, start, end, columns)).all()
    first, last, low, high, count = zip(*rows, strict=True) if rows else ((),) * 5
    return ChartColumns(
        np.array(first, np.int64),
        np.array(last, np.int64),
        np.array(low, np.float64),
        np.array(high, np.float64),
        np.array(count, np.int64),
    )


def _select_edge(sensor_id: int, since: int | None, until: int | None, newest: bool) -> AnySelect:
    """Return a query for the time of the first or the last reading of a period: one step along the index."""
    time = readings.c.timestamp
    where = [readings.c.sensor_id == sensor_id]
    where += [time >= since] if since is not None else []
    where += [time <= until] if until is not None else []
    return sa.select(time).where(*where).order_by(time.desc() if newest else time).limit(1)


def _select_columns(sensor_id: int, start: int, end: int, columns: int) -> AnySelect:
    time, value = readings.c.timestamp, readings.c.raw_value
    # Rounded up, so that the last reading falls into the last column and not behind it.
    width = (end - start) // columns + 1
    column = (time - start) // width
    extremes = [extreme(field) for field in (time, value) for extreme in (sa.func.min, sa.func.max)]
    return (
        sa.select(*extremes, sa.func.count())
        .where(readings.c.sensor_id == sensor_id, time >= start, time <= end)
        .group_by(column)
        .order_by(column)
    )
