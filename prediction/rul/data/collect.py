"""Telemetry and failures of a fleet, one device after the other, out of the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from storage.db.database import Database
from storage.devices.failures import Failures
from storage.devices.telemetry import DeviceTelemetry, Telemetry
from storage.sensors.readings import to_microseconds

_ALL = 2**63 - 1


@dataclass(frozen=True)
class DeviceHistory:
    """One device's telemetry with the ends of its runs (microseconds since 1970, whether in a failure)."""

    recorded: DeviceTelemetry
    ends: Sequence[tuple[int, bool]]


class DataCollector:
    """Reads a tenant's devices by one query, without a join: failures are few and looked up by device.

    Parameters
    ----------
    up_to : int
        A high-water mark of the telemetry: what arrives later is not read.
    """

    def __init__(self, database: Database, tenant: str, up_to: int = _ALL) -> None:
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
        """Every device in order of its name, never more than one in memory.

        Devices of which only events are known come last, without a row.

        Parameters
        ----------
        devices : sequence of str, optional
            Only these.
        start, end : datetime, optional
            Aware; both included. A failure after ``end`` still ends its run.
        include_failures : bool
            Whether ``ends`` is filled in.
        """
        ends = Failures(self.database).run_ends(self.tenant, devices) if include_failures else {}
        first, last = (None if moment is None else to_microseconds(moment) for moment in (start, end))
        for recorded in Telemetry(self.database).stream(self.tenant, devices, first, last, self.up_to):
            yield DeviceHistory(recorded, ends.pop(recorded.device_id, ()))
        for device, unheard in ends.items():
            yield DeviceHistory(DeviceTelemetry.empty(device), unheard)


AGE: Final = "operating_hours"
"""Channel: hours since the first row of the run."""


def add_age(recorded: DeviceTelemetry, ends: Sequence[tuple[int, bool]]) -> DeviceTelemetry:
    """With the hours each row's run has gone on; as they are, where the device tells them itself."""
    if AGE in recorded.channels or not len(recorded):
        return recorded
    run = np.searchsorted(np.array([end for end, _ in ends], dtype=np.int64), recorded.times, side="left")
    begun = recorded.times[np.searchsorted(run, run, side="left")]
    hours = (recorded.times - begun) / 3_600_000_000
    values = np.hstack([recorded.values, hours[:, None]])
    return DeviceTelemetry(
        recorded.device_id, recorded.ids, recorded.times, (*recorded.channels, AGE), values
    )


def average_in_buckets(recorded: DeviceTelemetry, hours: float) -> DeviceTelemetry:
    """Means over buckets of so many hours, each at the time of its last row; rows wider apart stay alone."""
    if len(recorded) < 2:
        return recorded
    width = round(hours * 3_600_000_000)
    bucket = recorded.times // width
    ends = np.flatnonzero(np.append(bucket[1:] != bucket[:-1], True))
    if len(ends) == len(recorded):
        return recorded
    starts = np.concatenate([[0], ends[:-1] + 1])
    values = _means(recorded.values, starts)
    return DeviceTelemetry(
        recorded.device_id, recorded.ids[ends], recorded.times[ends], recorded.channels, values
    )


def _means(values: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Column means of groups of rows, missing cells left out."""
    there = np.isfinite(values)
    sums = np.add.reduceat(np.where(there, values, 0.0), starts, axis=0)
    counts = np.add.reduceat(there, starts, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: NDArray[np.float64] = np.where(counts > 0, sums / counts, np.nan)
    return means
