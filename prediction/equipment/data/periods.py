"""Which rows are normal running time, and which events a detector should find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from prediction.contract import Options
from prediction.equipment.model.rows import Mask
from prediction.equipment.options import parse_periods
from prediction.records.fields import to_microseconds
from storage.devices.failures import RunEnd
from storage.devices.telemetry import DeviceTelemetry

HOUR: Final = 3_600_000_000


@dataclass(frozen=True)
class FailurePeriod:
    """A failure with its symptoms: alarms between ``start`` and ``end`` (microseconds since 1970) find it."""

    start: int
    end: int


def list_events(options: Options, ends: Sequence[RunEnd]) -> list[FailurePeriod]:
    """Return the labelled failures and the stored ones, oldest first; of two that overlap the longer one."""
    labelled = [label for label in options["labels"] if label["kind"] == "failure"]
    events = [
        FailurePeriod(to_microseconds(start), to_microseconds(end)) for start, end in parse_periods(labelled)
    ]
    window = round(options["failure_window_hours"] * HOUR)
    events += [FailurePeriod(end - window, end) for end, is_failure in ends if is_failure]
    kept: list[FailurePeriod] = []
    for event in sorted(events, key=lambda event: (event.start - event.end, event.start)):
        if all(event.end < other.start or event.start > other.end for other in kept):
            kept.append(event)
    return sorted(kept, key=lambda event: event.start)


def find_normal_rows(
    telemetry: DeviceTelemetry,
    options: Options,
    events: Sequence[FailurePeriod],
    suspected: Sequence[FailurePeriod] = (),
) -> Mask:
    """Return which rows may be learnt as normal, whether or not the asset was off.

    Parameters
    ----------
    suspected : sequence of FailurePeriod
        Stored episodes that nobody has called a false alarm.
    """
    times = telemetry.times
    normal = np.ones(len(times), dtype=bool)
    if options["normal_periods"] is not None:
        normal = np.zeros(len(times), dtype=bool)
        for start, end in parse_periods(options["normal_periods"]):
            normal |= (times >= to_microseconds(start)) & (times <= to_microseconds(end))
    for start, end in parse_periods(options["labels"]):
        normal &= (times < to_microseconds(start)) | (times > to_microseconds(end))
    for event in (*events, *suspected):
        normal &= (times < event.start) | (times > event.end)
    return normal
