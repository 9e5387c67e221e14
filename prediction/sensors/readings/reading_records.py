"""Parse readings as clients send them; each wrong line is reported with what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

from prediction.records.columns import ALIASES
from prediction.records.fields import (
    SHORTENED_NUMBER,
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
from storage.text.numbers import is_missing

MAX_READINGS = 500_000
# Each may hold the number of a sensor, or its tag.
SENSOR_NAMES: Final = ("sensor_id", *ALIASES["sensor_id"])
READING_SCHEMA: Final = RecordSchema(required=(SENSOR_NAMES, ("raw_value",)), time=("timestamp",))
_MAX_SENSOR_ID: Final = 2**31 - 1
# Longer texts than any id are not worth converting, and int() of a very long one takes quadratic time.
_MAX_ID_LENGTH: Final = 12
MAX_TAG_LENGTH: Final = 200
TAG_RULE: Final = (
    f"1 to {MAX_TAG_LENGTH} visible characters, not digits alone, and no space at the beginning or the end"
)
_NO_TAGS: Final[Mapping[str, int]] = {}


class OnUnknown(StrEnum):
    """What happens to readings of tags that no sensor has."""

    REFUSE = "refuse"
    QUEUE = "queue"
    CREATE = "create"


class ParsedReadings(NamedTuple):
    """Readings in columns, the line number of each, and every line that is wrong.

    A fault is ``{"record", "field", "code", "value", "message"}``.
    """

    block: ReadingBlock
    lines: list[int]
    faults: list[RecordFault]


def is_tag(sensor: str) -> bool:
    """Return whether a text is the tag of a sensor rather than its number."""
    text = sensor.strip()
    return bool(text) and not (text.isascii() and text.isdigit())


def is_valid_tag(tag: str) -> bool:
    """Return whether a sensor can have this tag; `TAG_RULE` says it in words."""
    return is_tag(tag) and tag == tag.strip() and tag.isprintable() and len(tag) <= MAX_TAG_LENGTH


def explain_unusable_tag(tag: str) -> str | None:
    """Return why readings of an unknown tag can neither wait for a sensor nor make one; None where they can."""
    if not is_valid_tag(tag):
        return f"a tag has {TAG_RULE}"
    if is_missing(tag):
        return "it stands for an empty cell"
    if SHORTENED_NUMBER.fullmatch(tag):
        return "a spreadsheet has shortened it: format its column as text and export the table again"
    return None


def collect_tags(records: Sequence[NumberedRecord]) -> set[str]:
    """Return the tags that these readings name their sensors by."""
    values = (record.get(name) for _, record in records if isinstance(record, dict) for name in SENSOR_NAMES)
    # A list or an object is no name, and cannot be put into a set.
    names = {value for value in values if isinstance(value, str)}
    return {name.strip() for name in names if is_tag(name)}


def parse_readings(
    records: Sequence[NumberedRecord], is_single: bool = False, tags: Mapping[str, int] = _NO_TAGS
) -> ParsedReadings:
    """Check readings.

    Parameters
    ----------
    records : sequence of (int, Any)
        Line numbers, and objects with ``sensor`` or ``sensor_id``, ``raw_value`` and ``timestamp``.
    is_single : bool
        Whether this is a reading sent by itself, which is of this moment where it has no time.
    tags : mapping of str to int
        The numbers of sensors by their tags.

    Raises
    ------
    InvalidRecords
        A column is missing.
    """
    READING_SCHEMA.check(records, is_single)
    readings: list[tuple[int, int, float]] = []
    lines: list[int] = []
    faults: list[RecordFault] = []
    now = datetime.now(UTC)
    for line, record in records:
        try:
            readings.append(_parse_reading(record, now, is_single, tags))
            lines.append(line)
        except FieldError as error:
            faults.append(error.to_dict(line))
    sensors, times, values = zip(*readings, strict=True) if readings else ((), (), ())
    block = ReadingBlock(np.array(sensors, np.int64), np.array(times, np.int64), np.array(values, np.float64))
    return ParsedReadings(block, lines, faults)


def find_unknown_sensors(
    block: ReadingBlock, lines: Sequence[int], sensor_ids: Container[int]
) -> list[RecordFault]:
    """Return a fault for each reading of a sensor that the tenant does not have."""
    return [
        FieldError("sensor_id", "unknown_sensor", sensor_id, f"there is no sensor {sensor_id}").to_dict(line)
        for sensor_id, line in zip(block.sensors.tolist(), lines, strict=True)
        if sensor_id not in sensor_ids
    ]


def count_placeholder_records(block: ReadingBlock) -> Counter[tuple[str, float]]:
    """Count the readings whose value often stands for a missing one."""
    suspicious = block.values[np.isin(block.values, list(PLACEHOLDERS))]
    return count_placeholders(("raw_value", value) for value in suspicious.tolist())


def _parse_reading(
    record: object, now: datetime, is_single: bool, tags: Mapping[str, int]
) -> tuple[int, int, float]:
    """Return sensor, time in microseconds since 1970, and value."""
    if isinstance(record, UnreadableLine):
        raise FieldError(None, "syntax", None, record)
    if not isinstance(record, dict):
        raise FieldError(None, "type", record, "must be an object with sensor_id, raw_value and timestamp")
    sensor_id = _parse_sensor_id(_get_field(record, *SENSOR_NAMES), tags)
    value = parse_number("raw_value", _get_field(record, "raw_value"))
    time = parse_record_time(record.get("timestamp"), now, is_single)
    return sensor_id, to_microseconds(time), value


def _get_field(record: Mapping[str, object], *names: str) -> object:
    """Return the first of these fields that the record has."""
    for name in names:
        if record.get(name) is not None:
            return record[name]
    present = ", ".join(map(str, record))[:100] or "nothing"
    raise FieldError(names[0], "missing", None, f"{names[0]} is missing, there is: {present}")


def _parse_sensor_id(value: object, tags: Mapping[str, int]) -> int:
    if isinstance(value, str) and is_tag(value):
        if (tag := value.strip()) not in tags:
            shown = tag[:MAX_TAG_LENGTH]
            hint = explain_unusable_tag(tag) or "on_unknown=queue lets its readings wait"
            message = f"there is no sensor with the tag {shown!r}; {hint}"
            raise FieldError("sensor_id", "unknown_sensor", shown, message)
        return tags[tag]
    if isinstance(value, str) and len(value) <= _MAX_ID_LENGTH:
        text = value.strip()
        value = int(text) if text.isascii() and text.isdigit() else value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MAX_SENSOR_ID:
        raise FieldError("sensor_id", "type", value, "sensor_id must be a sensor's number")
    return value
