"""Check what clients send to sensor models; they train from the database and take no records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TypeGuard

from errors import InvalidRecords
from prediction.contract import JSON, Options, RecordBatch, RequestParser
from prediction.options import load_options
from prediction.records.fields import (
    MAX_ABS_VALUE,
    MAX_INSTANT,
    MIN_INSTANT,
    FieldError,
    RecordFault,
    is_number,
    parse_instant,
)
from prediction.sensors.options import SensorsOptions
from prediction.sensors.readings.prediction_input import PredictionInput

MAX_INPUTS = 10_000
MAX_RECENT = 1_000
MAX_POINTS = 1_000
_DEFAULT_POINTS = 10
_VALUE_NAMES = ("value", "reading_value", "raw_value")
_FIELD_NAMES = frozenset((*_VALUE_NAMES, "timestamp", "recent", "future_points", "sensor_id"))


class SensorsRequestParser(RequestParser):
    """Options of a training, and readings for a prediction."""

    def parse_options(self, raw: Mapping[str, object]) -> Options:
        """Fill in the defaults of training options."""
        return load_options(SensorsOptions, raw)

    def parse_inputs(self, raw: object) -> RecordBatch:
        """Check one input or up to 10,000: a value, and optionally its time and the values before it."""
        records = [raw] if isinstance(raw, dict) else raw
        if not isinstance(records, list) or not 1 <= len(records) <= MAX_INPUTS:
            expected = f"Expected an object or an array of 1 to {MAX_INPUTS:,} objects"
            raise InvalidRecords([FieldError(None, "type", None, expected).to_dict(None)])
        faults: list[RecordFault] = []
        for number, record in enumerate(records, 1):
            if isinstance(record, dict):
                faults += [error.to_dict(number) for error in _check_record(record)]
            else:
                faults.append(FieldError(None, "type", None, "must be an object").to_dict(number))
        if faults:
            raise InvalidRecords(faults)
        ignored = sorted({name for record in records for name in record} - _FIELD_NAMES)
        return RecordBatch([dict(_normalize(record)) for record in records], (), ignored)


def _check_record(record: Mapping[str, object]) -> Iterator[FieldError]:
    values = [record[name] for name in _VALUE_NAMES if name in record]
    if not values:
        yield FieldError("value", "missing", None, "Missing required fields: ['value']")
    elif not _is_finite(values[0]):
        yield FieldError("value", "type", None, "value must be a finite number")
    elif abs(values[0]) > MAX_ABS_VALUE:
        limits = f"{-MAX_ABS_VALUE:g} and {MAX_ABS_VALUE:g}"
        yield FieldError("value", "range", None, f"value must lie between {limits}")
    if record.get("timestamp") is not None and _parse_seconds(record["timestamp"]) is None:
        example = "a date and time such as 2024-12-05T14:30:22Z, in the years 1900 to 2262"
        yield FieldError("timestamp", "time", None, f"timestamp must be {example}")
    recent = record.get("recent") or []
    if not isinstance(recent, list) or len(recent) > MAX_RECENT or not all(map(_is_finite, recent)):
        yield FieldError("recent", "type", None, f"recent must be up to {MAX_RECENT:,} finite numbers")
    points = record.get("future_points", 1)
    if not isinstance(points, int) or isinstance(points, bool) or not 1 <= points <= MAX_POINTS:
        yield FieldError("future_points", "range", None, f"future_points must be 1 to {MAX_POINTS:,}")


def _is_finite(value: object) -> TypeGuard[float]:
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:
        return False


def _parse_seconds(time: object) -> float | None:
    """Return seconds since 1970 of an RFC 3339 time (UTC without an offset) or of a number of seconds."""
    if _is_finite(time):
        return float(time) if MIN_INSTANT.timestamp() <= time <= MAX_INSTANT.timestamp() else None
    try:
        return parse_instant("timestamp", time).timestamp()
    except FieldError:
        return None


def _normalize(record: JSON) -> PredictionInput:
    time = record.get("timestamp")
    seconds = None if time is None else _parse_seconds(time)
    return {
        "value": float(next(record[name] for name in _VALUE_NAMES if name in record)),
        "time": datetime.now(UTC).timestamp() if seconds is None else seconds,
        "recent": record.get("recent") or [],
        "future_points": record.get("future_points", _DEFAULT_POINTS),
    }
