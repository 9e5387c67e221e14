"""Ask a sensor's models: is this odd, where does it drift, how is it corrected. Fallbacks say so."""

from __future__ import annotations

from typing import Any

import numpy as np
from marshmallow import Schema, fields, validate

from api.body import json_body
from api.instants import Instant
from api.resource import Resource
from api.schemas import Answer, loaded
from api.sensors.collection import described, read
from api.sensors.context import LARGEST_ID, database, sensor_of, tenant, watch
from errors import NotFound
from prediction.contract import JSON
from prediction.record_fields import LARGEST
from storage.sensors.readings import microseconds, moment
from storage.sensors.rows import Row
from storage.sensors.sensors import Sensors
from storage.tables import now

resource = Resource("sensor models", "What the models of a sensor say.")

MOST_AT_ONCE = 10_000
_SENSOR: dict[str, Any] = {"required": True, "strict": True, "validate": validate.Range(1, LARGEST_ID)}
_FINITE = validate.Range(-LARGEST, LARGEST)


class Judged(Schema):
    """A reading to be judged."""

    class Meta:
        unknown = "exclude"

    sensor_id = fields.Integer(**_SENSOR)
    reading_value = fields.Float(required=True, validate=_FINITE)
    timestamp = Instant(allow_none=True, load_default=None)


class JudgedMany(Schema):
    """Readings to be judged together."""

    readings = fields.List(fields.Nested(Judged), required=True, validate=validate.Length(1, MOST_AT_ONCE))


class RecordQuery(Schema):
    """Whether an anomaly that is found gets a row."""

    record = fields.String(load_default="true", validate=validate.OneOf(("true", "false", "1", "0")))


class Verdict(Answer):
    """What a model, or the rule in its place, says of a reading."""

    sensor_id = fields.Integer(required=True)
    is_anomaly = fields.Boolean(required=True)
    anomaly_score = fields.Float(required=True)
    confidence = fields.Float(required=True, allow_none=True)
    severity = fields.String(required=True, allow_none=True)
    type = fields.String(required=True, allow_none=True)
    expected = fields.Float(required=True, allow_none=True)
    model_used = fields.String(required=True)
    fallback_reason = fields.String(required=True, allow_none=True)


class Verdicts(Answer):
    """Verdicts in the order asked."""

    results = fields.List(fields.Nested(Verdict))


class ForecastQuery(Schema):
    """Whose drift, and how far."""

    sensor_id = fields.Integer(required=True, validate=validate.Range(1, LARGEST_ID))
    future_points = fields.Integer(load_default=10, validate=validate.Range(1, 1_000))


class Forecast(Answer):
    """Drift now and to come, in per cent of the baseline."""

    sensor_id = fields.Integer(required=True)
    current_drift = fields.Float(required=True)
    predictions = fields.List(fields.Dict(), required=True)
    model_used = fields.String(required=True)
    fallback_reason = fields.String(required=True, allow_none=True)


class Raw(Schema):
    """A raw value to be corrected."""

    class Meta:
        unknown = "exclude"

    sensor_id = fields.Integer(**_SENSOR)
    raw_value = fields.Float(required=True, validate=_FINITE)


class Corrected(Answer):
    """A corrected value with its expanded uncertainty (95 %)."""

    sensor_id = fields.Integer(required=True)
    corrected_value = fields.Float(required=True)
    correction_factor = fields.Float(required=True, allow_none=True)
    uncertainty = fields.Float(required=True, allow_none=True)
    model_used = fields.String(required=True)
    fallback_reason = fields.String(required=True, allow_none=True)


_DETECTION = {
    "required": True,
    "content": {"application/json": {"schema": {"anyOf": [Judged, JudgedMany]}}},
}


@resource.serves(
    "/api/enhanced-anomaly-detection/",
    {200: {"application/json": {"anyOf": [Verdict, Verdicts]}}},
    method="POST",
    role="train",
    query=RecordQuery,
    body=_DETECTION,
    errors=(404,),
    repeatable=False,
)
def detect(query: dict[str, Any]) -> dict[str, Any]:
    """Judge one reading, or several as `{"readings": […]}`; an anomaly gets a row unless `record=false`."""
    document = json_body()
    record = query["record"] in ("true", "1")
    if isinstance(document, dict) and "readings" in document:
        return {"results": _judged(loaded(JudgedMany, document)["readings"], record)}
    return _judged([read(Judged(), document)], record)[0]


@resource.serves("/api/drift-prediction/", {200: Forecast}, query=ForecastQuery, errors=(404,))
def predict_drift(query: dict[str, Any]) -> dict[str, Any]:
    """Forecast a sensor's drift."""
    sensor = sensor_of(query["sensor_id"])
    found = watch().drift(sensor, query["future_points"])
    points = [{**point, "time": moment(int(point["time"] * 1e6))} for point in found["predictions"]]
    named = {"sensor_id": sensor["id"], "sensor_name": sensor["name"]}
    return {**named, **found, "predictions": points}


@resource.serves(
    "/api/adaptive-calibration/",
    {200: Corrected},
    method="POST",
    role="train",
    body=described(Raw),
    errors=(404,),
    repeatable=False,
)
def correct_value() -> dict[str, Any]:
    """Correct a raw value; the correction is kept as a calibration with `source: model`."""
    asked = read(Raw(), json_body())
    sensor = sensor_of(asked["sensor_id"])
    found = watch().correct(sensor, asked["raw_value"])
    if found.get("due") and found["due"]["date"] is not None:
        found["due"] = {**found["due"], "date": moment(int(found["due"]["date"] * 1e6))}
    return {"sensor_id": sensor["id"], "raw_value": asked["raw_value"], **found}


def _judged(asked: list[JSON], record: bool) -> list[JSON]:
    """Verdicts in the order asked; each sensor's readings are judged together, in order of time."""
    for one in asked:
        one["timestamp"] = one["timestamp"] or now()
    answers: list[JSON] = [{} for _ in asked]
    sensors = _sensors_of(asked)
    for sensor_id in sorted(sensors):
        mine = [at for at, one in enumerate(asked) if one["sensor_id"] == sensor_id]
        mine.sort(key=lambda at: asked[at]["timestamp"])
        verdicts = _of_sensor(sensors[sensor_id], [asked[at] for at in mine], record)
        for at, verdict in zip(mine, verdicts, strict=True):
            answers[at] = verdict
    return answers


def _sensors_of(asked: list[JSON]) -> dict[int, Row]:
    """The sensors that are asked about; where one is unknown, nothing has been judged or recorded."""
    ids = {one["sensor_id"] for one in asked}
    if len(ids) == 1:
        return {number: sensor_of(number) for number in ids}
    found = Sensors(database()).many(tenant(), ids)
    for number in sorted(ids - found.keys()):
        raise NotFound(f"There is no sensor {number}")
    return found


def _of_sensor(sensor: Row, asked: list[JSON], record: bool) -> list[JSON]:
    guard = watch()
    values = np.array([one["reading_value"] for one in asked])
    times = np.array([microseconds(one["timestamp"]) for one in asked])
    verdicts = guard.judge(sensor, values, times)
    odd = [at for at, verdict in enumerate(verdicts) if verdict["is_anomaly"]]
    rows = [(float(values[at]), int(times[at]), verdicts[at]) for at in odd]
    ids = dict(zip(odd, guard.record(sensor, rows) if record and rows else [], strict=False))
    return [
        {"sensor_id": sensor["id"], "timestamp": asked[at]["timestamp"], **verdict, "anomaly_id": ids.get(at)}
        for at, verdict in enumerate(verdicts)
    ]
