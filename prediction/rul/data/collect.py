"""Read the telemetry and failures of a fleet from the database, one device after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.rul.data.label import MICROSECONDS_PER_HOUR
from storage.db.database import Database
from storage.devices.failures import Failures, RunEnd
from storage.devices.telemetry import DeviceTelemetry, Telemetry
from storage.sensors.readings import to_microseconds

# Channel: hours since the first row of the run.
AGE: Final = "operating_hours"
_INT64_MAX: Final = 2**63 - 1


@dataclass(frozen=True)
class DeviceHistory:
    """One device's telemetry with the ends of its runs, oldest first."""

    telemetry: DeviceTelemetry
    ends: Sequence[RunEnd]


class DataCollector:
    """Reads a tenant's devices with one query, without a join: failures are few and looked up by device.

    Parameters
    ----------
    up_to : int
        A high-water mark of the telemetry: later rows are not read.
    """

    def __init__(self, database: Database, tenant: str, up_to: int = _INT64_MAX) -> None:
        self.database = database
        self.tenant = tenant
        self.up_to = up_to

    def collect(
        self,
        devices: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        include_failures: bool = True,
    ) -> Iterator[DeviceHistory]:
        """Yield every device in order of its name; only one is in memory at a time.

        Devices with events and no telemetry come last, without a row.

        Parameters
        ----------
        devices : sequence of str, optional
            Only these.
        start, end : datetime, optional
            Aware; both included. A failure after ``end`` still ends its run.
        include_failures : bool
            Whether to fill in ``ends``.
        """
        ends = Failures(self.database).run_ends(self.tenant, devices) if include_failures else {}
        first, last = (None if instant is None else to_microseconds(instant) for instant in (start, end))
        for telemetry in Telemetry(self.database).stream(self.tenant, devices, first, last, self.up_to):
            yield DeviceHistory(telemetry, ends.pop(telemetry.device_id, ()))
        for device, events in ends.items():
            yield DeviceHistory(DeviceTelemetry.empty(device), events)


def add_age(telemetry: DeviceTelemetry, ends: Sequence[RunEnd]) -> DeviceTelemetry:
    """Add the channel `AGE`, unless the device reports it itself."""
    if AGE in telemetry.channels or not len(telemetry):
        return telemetry
    run = assign_runs(telemetry.times, ends)
    starts = telemetry.times[np.searchsorted(run, run, side="left")]
    hours = (telemetry.times - starts) / MICROSECONDS_PER_HOUR
    values = np.hstack([telemetry.values, hours[:, None]])
    channels = (*telemetry.channels, AGE)
    return DeviceTelemetry(telemetry.device_id, telemetry.ids, telemetry.times, channels, values)


def assign_runs(times: NDArray[np.int64], ends: Sequence[RunEnd]) -> NDArray[np.int64]:
    """Return the number of the run of each row. A row at the time of an end belongs to the run that ends."""
    run: NDArray[np.int64] = np.searchsorted(
        np.array([end for end, _ in ends], dtype=np.int64), times, side="left"
    )
    return run


def average_in_buckets(telemetry: DeviceTelemetry, hours: float) -> DeviceTelemetry:
    """Average rows over buckets of so many hours, each at the time of its last row."""
    if len(telemetry) < 2:
        return telemetry
    bucket = telemetry.times // round(hours * MICROSECONDS_PER_HOUR)
    last_rows = np.flatnonzero(np.append(bucket[1:] != bucket[:-1], True))
    if len(last_rows) == len(telemetry):
        return telemetry
    first_rows = np.concatenate([[0], last_rows[:-1] + 1])
    present = np.isfinite(telemetry.values)
    sums = np.add.reduceat(np.where(present, telemetry.values, 0.0), first_rows, axis=0)
    counts = np.add.reduceat(present, first_rows, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, sums / counts, np.nan)
    return DeviceTelemetry(
        telemetry.device_id, telemetry.ids[last_rows], telemetry.times[last_rows], telemetry.channels, means
    )
