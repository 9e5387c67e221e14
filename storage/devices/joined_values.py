"""Values of single channels, joined into one row of telemetry for each device and time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import Final, Self

from errors import StorageFailed
from storage.devices.telemetry import TelemetryRows

ROWS_PER_BATCH: Final = 20_000


@dataclass(frozen=True)
class ValueConflict:
    """A channel that has several values at one time (microseconds since 1970); two of them."""

    device_id: str
    time: int
    channel: str
    low: float
    high: float


class JoinedValues:
    """Values in a temporary database, because a long table may be larger than memory and in any order.

    SQLite keeps it in memory while it is small, then in a file in the folder that ``TMPDIR`` names.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        # It is never read by another process and is gone after a crash, so nothing is to be made durable.
        self._database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE cell (device, time, channel, value)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()

    def add(self, rows: TelemetryRows) -> None:
        """Add the values of rows.

        Raises
        ------
        StorageFailed
            The folder for temporary files takes no more.
        """
        cells = (
            (device, time, channel, value)
            for device, time, values in zip(rows.devices, rows.times, rows.channels, strict=True)
            for channel, value in values.items()
        )
        with _database_errors():
            self._database.execute("BEGIN")
            self._database.executemany("INSERT INTO cell VALUES (?, ?, ?, ?)", cells)
            self._database.execute("COMMIT")

    def find_conflicts(self) -> Iterator[ValueConflict]:
        """Yield channels with different values at one time."""
        with _database_errors():
            for row in self._database.execute(
                "SELECT device, time, channel, min(value), max(value) FROM cell"
                " GROUP BY device, time, channel HAVING min(value) < max(value)"
            ):
                yield ValueConflict(*row)

    def rows(self) -> Iterator[TelemetryRows]:
        """Yield rows in order of device and time, without values that are in conflict."""
        devices, times, channels = list[str](), list[int](), list[dict[str, float]]()
        with _database_errors():
            cells = self._database.execute(
                "SELECT device, time, channel, min(value) FROM cell"
                " GROUP BY device, time, channel HAVING min(value) = max(value) ORDER BY device, time, channel"
            )
            for (device, time), values in groupby(cells, key=itemgetter(0, 1)):
                devices.append(device)
                times.append(time)
                channels.append({channel: value for _, _, channel, value in values})
                if len(times) == ROWS_PER_BATCH:
                    yield TelemetryRows(devices, times, channels)
                    devices, times, channels = [], [], []
        if times:
            yield TelemetryRows(devices, times, channels)


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageFailed(
            f"The temporary database of a long table: {error} (TMPDIR names another folder)"
        ) from error
