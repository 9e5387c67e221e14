"""What a client may ask of the sensor models; they train from the database and take no records."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from marshmallow import fields, validate

from errors import InvalidRecords, NotFound, NotReady
from prediction.contract import JSON, Intake, ModelKey, RecordBatch
from prediction.options import TrackedOptions, load_options
from prediction.records.fields import MAX_ABS_VALUE, MAX_INSTANT, MIN_INSTANT, FieldError, parse_instant
from storage.db.database import Database
from storage.sensors.anomalies import Anomalies
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors

MODEL_KINDS = ("anomaly", "drift", "calibration")
MAX_INPUTS = 10_000
MAX_RECENT = 1_000
MAX_POINTS = 1_000
_NAME = re.compile(r"([1-9][0-9]{0,9})-(anomaly|drift|calibration)", re.ASCII)
_VALUE_NAMES = ("value", "reading_value", "raw_value")
_KNOWN = frozenset((*_VALUE_NAMES, "timestamp", "recent", "future_points", "sensor_id"))


class SensorsOptions(TrackedOptions):
    """Options of a sensor training; each kind of model reads its own."""

    algorithm = fields.String(
        load_default="isolation_forest", validate=validate.OneOf(("isolation_forest", "knn_cad"))
    )
    mode = fields.String(load_default="cyclic", validate=validate.OneOf(("cyclic", "classic")))
    trees = fields.Integer(load_default=100, validate=validate.Range(1, 1_000))
    seed = fields.Integer(load_default=42, validate=validate.Range(0, 2**31 - 1))
    contamination = fields.Float(
        load_default=None, allow_none=True, validate=validate.Range(0, 0.5, min_inclusive=False)
    )
    false_alarms_per_week = fields.Float(load_default=1.0, validate=validate.Range(1e-6, 1e6))
    range_margin = fields.Float(load_default=0.1, validate=validate.Range(0, 10))
    coverage = fields.Float(load_default=0.9, validate=validate.Range(0.5, 0.99))
    reliability = fields.Float(load_default=0.95, validate=validate.Range(0.5, 0.999))
    tolerance = fields.Float(
        load_default=None, allow_none=True, validate=validate.Range(0, 1e15, min_inclusive=False)
    )


def parse_key(key: ModelKey) -> tuple[int, str]:
    """The sensor and the kind of model that a key names.

    Raises
    ------
    NotFound
        The name is not ``<sensor_id>-anomaly``, ``-drift`` or ``-calibration``.
    """
    found = _NAME.fullmatch(key.name)
    if found is None:
        raise NotFound(f"There is no {key}: sensor models are named <sensor_id>-{'|'.join(MODEL_KINDS)}")
    return int(found[1]), found[2]


class SensorsIntake(Intake):
    """Three models a sensor: what is odd, where it drifts, how it is corrected."""

    def check_key(self, key: ModelKey) -> None:
        Sensors(self._database()).get(key.tenant, parse_key(key)[0])

    def parse_options(self, raw: JSON) -> JSON:
        return load_options(SensorsOptions, raw)

    def parse_inputs(self, raw: Any) -> RecordBatch:
        """One input or up to 10,000: a value, and where it matters its time and the values before it."""
        sent = [raw] if isinstance(raw, dict) else raw
        faults = list(_faults(sent))
        if faults:
            raise InvalidRecords(faults)
        ignored = sorted({name for record in sent for name in record} - _KNOWN)
        return RecordBatch([_normalised(record) for record in sent], (), ignored)

    def training_source(self, key: ModelKey, pending: Any, staged: Any = None) -> JSON:
        """The rows a training reads: up to the marks of this moment, whatever arrives meanwhile."""
        sensor_id, kind = parse_key(key)
        database = self._database()
        periods = Anomalies(database).suspected(sensor_id)
        return {
            "kind": kind,
            "sensor_id": sensor_id,
            "tenant": key.tenant,
            "database": database.engine.url.render_as_string(hide_password=False),
            "run_dir": str(self.data_dir / "run"),
            "readings_up_to": Readings(database).get_watermark(),
            "calibrations_up_to": Calibrations(database).get_watermark(),
            "left_out": [[first.timestamp(), last.timestamp()] for first, last in periods],
        }

    def _database(self) -> Database:
        if self.database is None:
            raise NotReady("The sensor models need the database")
        return self.database


def _faults(sent: Any) -> Iterator[JSON]:
    if not isinstance(sent, list) or not 1 <= len(sent) <= MAX_INPUTS:
        yield _fault(None, None, "type", f"Expected an object or an array of 1 to {MAX_INPUTS:,} objects")
        return
    for number, record in enumerate(sent, 1):
        if isinstance(record, dict):
            yield from _record_faults(number, record)
        else:
            yield _fault(number, None, "type", "must be an object")


def _record_faults(number: int, record: JSON) -> Iterator[JSON]:
    values = [record[name] for name in _VALUE_NAMES if name in record]
    if not values:
        yield _fault(number, "value", "missing", "Missing required fields: ['value']")
    elif not _is_finite(values[0]):
        yield _fault(number, "value", "type", "value must be a finite number")
    elif abs(values[0]) > MAX_ABS_VALUE:
        yield _fault(
            number, "value", "range", f"value must lie between {-MAX_ABS_VALUE:g} and {MAX_ABS_VALUE:g}"
        )
    if record.get("timestamp") is not None and _seconds(record["timestamp"]) is None:
        yield _fault(
            number,
            "timestamp",
            "time",
            "timestamp must be a date and time such as 2024-12-05T14:30:22Z, in the years 1900 to 2262",
        )
    recent = record.get("recent") or []
    if not isinstance(recent, list) or len(recent) > MAX_RECENT or not all(map(_is_finite, recent)):
        yield _fault(number, "recent", "type", f"recent must be up to {MAX_RECENT:,} finite numbers")
    points = record.get("future_points", 1)
    if not isinstance(points, int) or isinstance(points, bool) or not 1 <= points <= MAX_POINTS:
        yield _fault(number, "future_points", "range", f"future_points must be 1 to {MAX_POINTS:,}")


def _fault(number: int | None, field: str | None, code: str, said: str) -> JSON:
    message = said if number is None else f"Record {number}: {said}"
    return {"record": number, "field": field, "code": code, "value": None, "message": message}


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _seconds(said: Any) -> float | None:
    """Seconds since 1970 of an RFC 3339 time (UTC where it names no offset) or of a number of seconds."""
    if _is_finite(said):
        return float(said) if MIN_INSTANT.timestamp() <= said <= MAX_INSTANT.timestamp() else None
    try:
        return parse_instant("timestamp", said).timestamp()
    except FieldError:
        return None


def _normalised(record: JSON) -> JSON:
    value = next(record[name] for name in _VALUE_NAMES if name in record)
    said = record.get("timestamp")
    time = datetime.now(UTC).timestamp() if said is None else _seconds(said)
    points = record.get("future_points", 10)
    return {
        "value": float(value),
        "time": time,
        "recent": record.get("recent") or [],
        "future_points": points,
    }
