"""Readings as clients send them, checked line by line: a wrong line is named with what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from prediction.contract import JSON
from prediction.records.fields import (
    FieldError,
    RecordFault,
    count_placeholders,
    parse_number,
    parse_record_time,
    to_microseconds,
)
from prediction.records.parsing import NumberedRecord, UnreadableLine
from prediction.records.schema import RecordSchema
from storage.placeholders import PLACEHOLDERS
from storage.sensors.reading_block import ReadingBlock

MAX_READINGS = 500_000
_LARGEST_ID = 2**31 - 1
READING_SCHEMA: Final = RecordSchema(required=(("sensor_id", "sensor"), ("raw_value",)), time=("timestamp",))


def parse_readings(
    sent: Sequence[NumberedRecord], alone: bool = False
) -> tuple[ReadingBlock, list[int], list[RecordFault]]:
    """Readings in columns, the line of each, and every line that is wrong.

    Parameters
    ----------
    sent : sequence of (int, Any)
        Lines and what stands on them: objects with ``sensor`` or ``sensor_id``, ``raw_value`` and
        ``timestamp``.
    alone : bool
        Whether this is a reading by itself, which is one of this moment where it says no time.

    Returns
    -------
    block : Block
    lines : list of int
        The line number of each reading of the block.
    faults : list of mapping
        ``{"record", "field", "code", "value", "message"}``.

    Raises
    ------
    InvalidRecords
        A column is missing.
    """
    READING_SCHEMA.check(sent, alone)
    owners: list[int] = []
    times: list[int] = []
    values: list[float] = []
    lines: list[int] = []
    faults: list[RecordFault] = []
    now = datetime.now(UTC)
    for line, reading in sent:
        try:
            owner, time, value = _read(reading, now, alone)
        except FieldError as wrong:
            faults.append(wrong.to_dict(line))
        else:
            owners.append(owner)
            times.append(time)
            values.append(value)
            lines.append(line)
    block = ReadingBlock(np.array(owners, np.int64), np.array(times, np.int64), np.array(values, np.float64))
    return block, lines, faults


def find_unknown_sensors(
    block: ReadingBlock, lines: Sequence[int], known: Mapping[int, Any]
) -> list[RecordFault]:
    """A fault for each reading of a sensor that the tenant does not have."""
    owners = zip(block.sensors.tolist(), lines, strict=True)
    return [
        FieldError("sensor_id", "unknown_sensor", owner, f"there is no sensor {owner}").to_dict(line)
        for owner, line in owners
        if owner not in known
    ]


def count_placeholder_records(block: ReadingBlock) -> Counter[tuple[str, float]]:
    """How often the readings are a number that often stands for a missing value."""
    odd = block.values[np.isin(block.values, list(PLACEHOLDERS))]
    return count_placeholders(("raw_value", value) for value in odd.tolist())


def _read(reading: Any, now: datetime, alone: bool) -> tuple[int, int, float]:
    if isinstance(reading, UnreadableLine):
        raise FieldError(None, "syntax", None, reading)
    if not isinstance(reading, dict):
        raise FieldError(None, "type", reading, "must be an object with sensor_id, raw_value and timestamp")
    owner = _sensor(_named(reading, "sensor_id", "sensor"))
    value = parse_number("raw_value", _named(reading, "raw_value"))
    return owner, to_microseconds(parse_record_time(reading.get("timestamp"), now, alone)), value


def _named(reading: JSON, *names: str) -> Any:
    """A field under the first of these names that it has."""
    for name in names:
        if reading.get(name) is not None:
            return reading[name]
    there = ", ".join(map(str, reading))[:100] or "nothing"
    raise FieldError(names[0], "missing", None, f"{names[0]} is missing, there is: {there}")


def _sensor(said: Any) -> int:
    if isinstance(said, str) and said.strip().isascii() and said.strip().isdigit() and len(said) <= 12:
        said = int(said)
    if isinstance(said, bool) or not isinstance(said, int) or not 0 < said <= _LARGEST_ID:
        raise FieldError("sensor_id", "type", said, "sensor_id must be a sensor's number")
    return said
