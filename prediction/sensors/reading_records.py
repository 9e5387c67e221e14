"""Readings as clients send them, checked line by line: a wrong line is named with what is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from prediction.contract import JSON
from storage.sensors.bulk import Block
from storage.sensors.readings import microseconds

MOST_READINGS = 500_000
_LARGEST_ID = 2**31 - 1
_EARLIEST = microseconds(datetime(1900, 1, 1, tzinfo=UTC))
_LATEST = microseconds(datetime(2262, 1, 1, tzinfo=UTC))


def checked(sent: Sequence[Any], first_line: int = 1) -> tuple[Block, list[int], list[JSON]]:
    """Readings in columns, the line of each, and every line that is wrong.

    Parameters
    ----------
    sent : sequence
        Objects with ``sensor`` or ``sensor_id``, ``raw_value`` and, unless it is now, ``timestamp``.
    first_line : int
        The number of the first object, for people: 2 where a CSV file has a header.

    Returns
    -------
    block : Block
    lines : list of int
        The line number of each reading of the block.
    faults : list of mapping
        ``{"record", "field", "code", "value", "message"}``.
    """
    owners: list[int] = []
    times: list[int] = []
    values: list[float] = []
    lines: list[int] = []
    faults: list[JSON] = []
    now = microseconds(datetime.now(UTC))
    for line, reading in enumerate(sent, first_line):
        try:
            owner, time, value = _read(reading, now)
        except _Wrong as wrong:
            faults.append(wrong.fault(line))
        else:
            owners.append(owner)
            times.append(time)
            values.append(value)
            lines.append(line)
    block = Block(np.array(owners, np.int64), np.array(times, np.int64), np.array(values, np.float64))
    return block, lines, faults


def unknown_sensors(block: Block, lines: Sequence[int], known: Mapping[int, Any]) -> list[JSON]:
    """A fault for each reading of a sensor that the tenant does not have."""
    owners = zip(block.sensors.tolist(), lines, strict=True)
    return [
        _Wrong("sensor_id", "unknown_sensor", owner, f"there is no sensor {owner}").fault(line)
        for owner, line in owners
        if owner not in known
    ]


class _Wrong(Exception):
    def __init__(self, field: str | None, code: str, value: Any, said: str) -> None:
        super().__init__(said)
        self.field, self.code, self.value, self.said = field, code, value, said

    def fault(self, line: int) -> JSON:
        shown = self.value if isinstance(self.value, int | float | bool | None) else str(self.value)[:100]
        message = f"Record {line}: {self.said}"
        return {"record": line, "field": self.field, "code": self.code, "value": shown, "message": message}


def _read(reading: Any, now: int) -> tuple[int, int, float]:
    if not isinstance(reading, dict):
        raise _Wrong(None, "type", reading, "must be an object with sensor_id, raw_value and timestamp")
    said = reading.get("timestamp")
    time = now if said is None or said == "" else _time(said)
    return _sensor(reading.get("sensor_id", reading.get("sensor"))), time, _value(reading.get("raw_value"))


def _sensor(said: Any) -> int:
    if isinstance(said, str) and said.strip().isascii() and said.strip().isdigit() and len(said) <= 12:
        said = int(said)
    if isinstance(said, bool) or not isinstance(said, int) or not 0 < said <= _LARGEST_ID:
        raise _Wrong(
            "sensor_id", "missing" if said is None else "type", said, "sensor_id must be a sensor's number"
        )
    return said


def _value(said: Any) -> float:
    """A finite number; in a text a decimal comma is understood, too."""
    try:
        value = float(said.replace(",", ".") if isinstance(said, str) else said)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if isinstance(said, bool) or not math.isfinite(value):
        raise _Wrong(
            "raw_value", "missing" if said is None else "type", said, "raw_value must be a finite number"
        )
    return value


def _time(said: Any) -> int:
    """An RFC 3339 time, in UTC where it names no offset."""
    try:
        read = datetime.fromisoformat(said.strip())
        time = microseconds(read if read.tzinfo else read.replace(tzinfo=UTC))
    except (AttributeError, ValueError, OverflowError) as error:
        wanted = "timestamp must be a date and time such as 2024-12-05T14:30:22Z"
        raise _Wrong("timestamp", "time", said, wanted) from error
    if not _EARLIEST <= time <= _LATEST:
        raise _Wrong("timestamp", "range", said, "timestamp must lie between the years 1900 and 2262")
    return time
