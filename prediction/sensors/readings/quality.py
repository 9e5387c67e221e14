"""What is wrong with a sensor's readings before any model looks at them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON
from prediction.records.fields import EPOCH
from prediction.sensors.readings.series import SensorSeries, estimate_interval_seconds

Array = NDArray[Any]

MAX_LISTED = 20
_GAP = 3.0
"""A pause this many usual intervals long is a gap."""
_CONSTANT = 20
"""This many equal readings in a row are a constant stretch."""


def check_quality(series: SensorSeries, low: float | None, high: float | None) -> JSON:
    """Gaps, duplicates, late arrivals, constant stretches and readings beyond the sensor's limits.

    Parameters
    ----------
    series : Series
        In order of time; the ids tell the order of arrival.
    low, high : float, optional
        The sensor's limits.

    Returns
    -------
    mapping
        A count and, for gaps and constant stretches, the longest of them with times in RFC 3339.
    """
    if not len(series):
        return {"readings": 0, "problems": ["no readings"]}
    found: JSON = {
        "readings": len(series),
        "first": _instant(series.times[0]),
        "last": _instant(series.times[-1]),
        "interval_seconds": estimate_interval_seconds(series.times),
        "gaps": gaps(series.times),
        "duplicates": int((np.diff(series.times) == 0).sum()),
        "out_of_order": out_of_order(series),
        "constant": constant_stretches(series),
        "out_of_range": _out_of_range(series.values, low, high),
    }
    return {**found, "problems": _problems(found)}


def gaps(times: Array) -> JSON:
    """Pauses longer than three usual intervals."""
    steps = np.diff(times)
    at = np.flatnonzero(steps > _GAP * estimate_interval_seconds(times))
    longest = at[np.argsort(-steps[at], kind="stable")][:MAX_LISTED]
    return {"count": len(at), "longest": [_gap(times, int(i)) for i in longest]}


def _gap(times: Array, at: int) -> JSON:
    first, last = float(times[at]), float(times[at + 1])
    return {"from": _instant(first), "to": _instant(last), "seconds": last - first}


def _instant(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339 in UTC."""
    return (EPOCH + timedelta(seconds=float(seconds))).isoformat()


def out_of_order(series: SensorSeries) -> int:
    """Readings that arrived after a later one."""
    arrival = series.times[np.argsort(series.ids, kind="stable")]
    return int((arrival < np.maximum.accumulate(arrival)).sum())


def constant_stretches(series: SensorSeries) -> JSON:
    """Runs of twenty and more equal values: a stuck sensor looks like this."""
    edges = np.flatnonzero(np.diff(series.values) != 0) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([starts, [len(series)]]))
    at = np.flatnonzero(lengths >= _CONSTANT)
    longest = at[np.argsort(-lengths[at], kind="stable")][:MAX_LISTED]
    named = [_stretch(series, int(starts[i]), int(lengths[i])) for i in longest]
    return {"count": len(at), "readings": int(lengths[at].sum()), "longest": named}


def _stretch(series: SensorSeries, start: int, length: int) -> JSON:
    return {
        "from": _instant(series.times[start]),
        "to": _instant(series.times[start + length - 1]),
        "value": float(series.values[start]),
        "readings": length,
    }


def _out_of_range(values: Array, low: float | None, high: float | None) -> JSON:
    below = 0 if low is None else int((values < low).sum())
    above = 0 if high is None else int((values > high).sum())
    return {"below": below, "above": above, "checked": low is not None or high is not None}


def _problems(found: JSON) -> list[str]:
    """One sentence a kind of problem."""
    limits = found["out_of_range"]
    counted = {
        "gaps longer than three usual intervals": found["gaps"]["count"],
        "readings with the time of another": found["duplicates"],
        "readings that arrived after a later one": found["out_of_order"],
        "stretches of twenty and more equal values": found["constant"]["count"],
        "readings beyond the sensor's limits": limits["below"] + limits["above"],
    }
    return [f"{count:,} {what}" for what, count in counted.items() if count]
