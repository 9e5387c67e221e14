"""Check a sensor's readings for problems before any model is trained on them."""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

import numpy as np

from prediction.records.fields import EPOCH
from prediction.sensors.readings.series import Array, SensorSeries, estimate_interval_seconds

MAX_LISTED = 20
_GAP_INTERVALS = 3.0
# A sensor with noise repeats a value by chance, but hardly twenty times in a row.
_MIN_CONSTANT_READINGS = 20

# The functional form, because ``from`` is a keyword.
Gap = TypedDict("Gap", {"from": str, "to": str, "seconds": float})
ConstantStretch = TypedDict("ConstantStretch", {"from": str, "to": str, "value": float, "readings": int})


class Gaps(TypedDict):
    """Pauses in the readings, the longest first."""

    count: int
    longest: list[Gap]


class ConstantStretches(TypedDict):
    """Runs of equal values, the longest first."""

    count: int
    readings: int
    longest: list[ConstantStretch]


class LimitViolations(TypedDict):
    """Readings beyond the sensor's limits; ``checked`` is false where it has none."""

    below: int
    above: int
    checked: bool


class QualityReport(TypedDict, total=False):
    """Counts of what may be wrong; times in RFC 3339. Without readings only the count and the problems."""

    readings: int
    first: str
    last: str
    interval_seconds: float
    gaps: Gaps
    duplicates: int
    out_of_order: int
    constant: ConstantStretches
    out_of_range: LimitViolations
    problems: list[str]


def check_quality(series: SensorSeries, low: float | None, high: float | None) -> QualityReport:
    """Report gaps, duplicates, late arrivals, constant stretches and readings beyond the sensor's limits.

    Parameters
    ----------
    series : SensorSeries
        Its ids tell the order of arrival.
    low, high : float, optional
        The sensor's limits.
    """
    if not len(series):
        return {"readings": 0, "problems": ["no readings"]}
    arrival_times = series.times[np.argsort(series.ids, kind="stable")]
    report: QualityReport = {
        "readings": len(series),
        "first": _format_time(series.times[0]),
        "last": _format_time(series.times[-1]),
        "interval_seconds": estimate_interval_seconds(series.times),
        "gaps": find_gaps(series.times),
        "duplicates": int((np.diff(series.times) == 0).sum()),
        "out_of_order": int((arrival_times < np.maximum.accumulate(arrival_times)).sum()),
        "constant": find_constant_stretches(series),
        "out_of_range": {
            "below": 0 if low is None else int((series.values < low).sum()),
            "above": 0 if high is None else int((series.values > high).sum()),
            "checked": low is not None or high is not None,
        },
    }
    limits = report["out_of_range"]
    counts = {
        "gaps longer than three usual intervals": report["gaps"]["count"],
        "readings with the time of another": report["duplicates"],
        "readings that arrived after a later one": report["out_of_order"],
        "stretches of twenty and more equal values": report["constant"]["count"],
        "readings beyond the sensor's limits": limits["below"] + limits["above"],
    }
    report["problems"] = [f"{count:,} {problem}" for problem, count in counts.items() if count]
    return report


def find_gaps(times: Array) -> Gaps:
    """Find pauses longer than three usual intervals."""
    steps = np.diff(times)
    positions = np.flatnonzero(steps > _GAP_INTERVALS * estimate_interval_seconds(times))
    longest = positions[np.argsort(-steps[positions], kind="stable")][:MAX_LISTED].tolist()
    return {
        "count": len(positions),
        "longest": [
            {
                "from": _format_time(times[position]),
                "to": _format_time(times[position + 1]),
                "seconds": float(steps[position]),
            }
            for position in longest
        ],
    }


def find_constant_stretches(series: SensorSeries) -> ConstantStretches:
    """Find runs of twenty and more equal values, which a stuck sensor shows."""
    edges = np.flatnonzero(np.diff(series.values) != 0) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([starts, [len(series)]]))
    positions = np.flatnonzero(lengths >= _MIN_CONSTANT_READINGS)
    longest = positions[np.argsort(-lengths[positions], kind="stable")][:MAX_LISTED].tolist()
    return {
        "count": len(positions),
        "readings": int(lengths[positions].sum()),
        "longest": [
            {
                "from": _format_time(series.times[starts[position]]),
                "to": _format_time(series.times[starts[position] + lengths[position] - 1]),
                "value": float(series.values[starts[position]]),
                "readings": int(lengths[position]),
            }
            for position in longest
        ],
    }


def _format_time(seconds: float) -> str:
    """Return seconds since 1970 as RFC 3339 in UTC."""
    return (EPOCH + timedelta(seconds=float(seconds))).isoformat()
