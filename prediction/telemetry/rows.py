"""Rows of telemetry: from a request, without duplicates, without missing values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from storage.devices.telemetry import DeviceTelemetry


def telemetry_from_rows(
    rows: Sequence[Mapping[str, float]], times: Sequence[int], device_id: str | None
) -> DeviceTelemetry:
    """Return the rows of a request as telemetry, in order of time."""
    instants = np.array(times, dtype=np.int64)
    order = np.argsort(instants, kind="stable")
    names = tuple(sorted({name for row in rows for name in row}))
    values = np.array([[row.get(name, np.nan) for name in names] for row in rows], dtype=np.float64)
    return DeviceTelemetry(device_id or "", np.arange(len(rows)), instants[order], names, values[order])


def join_duplicates(telemetry: DeviceTelemetry) -> DeviceTelemetry:
    """Return one row for each time; of several, each channel has its last value: deliveries may bring some channels."""
    is_first = np.append(True, np.diff(telemetry.times) != 0)
    if is_first[: len(telemetry)].all():
        return telemetry
    rows = np.arange(len(telemetry))
    group_start = np.maximum.accumulate(np.where(is_first, rows, 0))
    last_known = np.maximum.accumulate(np.where(np.isfinite(telemetry.values), rows[:, None], -1), axis=0)
    known = np.take_along_axis(telemetry.values, last_known.clip(0), axis=0)
    values = np.where(last_known >= group_start[:, None], known, np.nan)
    return replace(telemetry, values=values).select(np.append(is_first[1:], True))


def forward_fill(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace each missing value by the last known one; before the first known value it stays missing."""
    if not np.isnan(values).any():
        return values
    rows = np.arange(len(values))[:, None]
    last_known = np.maximum.accumulate(np.where(np.isfinite(values), rows, 0), axis=0)
    return np.take_along_axis(values, last_known, axis=0)
