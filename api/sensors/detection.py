"""Ask a sensor's models: is this odd, where does it drift, how is it corrected. Fallbacks say so."""

from __future__ import annotations

from typing import Any

import numpy as np
from marshmallow import Schema, fields, validate

from api.http.fields import InstantField
from api.http.request_body import read_json
from api.http.resource import Resource
from api.http.schemas import OpenSchema, load_document
from api.sensors.context import MAX_ID, database, get_sensor_row, sensor_monitor, tenant
from api.sensors.crud import json_request_body, load_body
from errors import NotFound
from prediction.contract import JSON
from prediction.records.fields import MAX_ABS_VALUE
from storage.db.crud import Row
from storage.db.tables import utc_now
from storage.sensors.readings import from_microseconds, to_microseconds
from storage.sensors.sensors import Sensors

resource = Resource("sensor models", "What the models of a sensor say.")

MAX_READINGS_AT_ONCE = 10_000
_SENSOR: dict[str, Any] = {"required": True, "strict": True, "validate": validate.Range(1, MAX_ID)}
_FINITE = validate.Range(-MAX_ABS_VALUE, MAX_ABS_VALUE)


class ReadingToCheck(Schema):
    """A reading to be judged."""

    class Meta:
        unknown = "exclude"

    sensor_id = fields.Integer(**_SENSOR)
    reading_value = fields.Float(required=True, validate=_FINITE)
    timestamp = InstantField(allow_none=True, load_default=None)


class ReadingsToCheck(Schema):
    """Readings to be judged together."""

    readings = fields.List(
        fields.Nested(ReadingToCheck), required=True, validate=validate.Length(1, MAX_READINGS_AT_ONCE)
    )


class DetectionQuery(Schema):
    """Whether an anomaly that is found gets a row."""

    record = fields.String(load_default="true", validate=validate.OneOf(("true", "false", "1", "0")))


class DetectionView(OpenSchema):
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


class DetectionListView(OpenSchema):
    """Verdicts in the order asked."""

    results = fields.List(fields.Nested(DetectionView))


class DriftForecastQuery(Schema):
    """Whose drift, and how far."""

    sensor_id = fields.Integer(required=True, validate=validate.Range(1, MAX_ID))
    future_points = fields.Integer(load_default=10, validate=validate.Range(1, 1_000))


class DriftForecastView(OpenSchema):
    """Drift now and to come, in per cent of the baseline."""

    sensor_id = fields.Integer(required=True)
    current_drift = fields.Float(required=True)
    predictions = fields.List(fields.Dict(), required=True)
    model_used = fields.String(required=True)
    fallback_reason = fields.String(required=True, allow_none=True)


class RawValueInput(Schema):
    """A raw value to be corrected."""

    class Meta:
        unknown = "exclude"

    sensor_id = fields.Integer(**_SENSOR)
    raw_value = fields.Float(required=True, validate=_FINITE)


class CorrectionView(OpenSchema):
    """A corrected value with its expanded uncertainty (95 %)."""

    sensor_id = fields.Integer(required=True)
    corrected_value = fields.Float(required=True)
    correction_factor = fields.Float(required=True, allow_none=True)
    uncertainty = fields.Float(required=True, allow_none=True)
    model_used = fields.String(required=True)
    fallback_reason = fields.String(required=True, allow_none=True)


_DETECTION = {
    "required": True,
    "content": {"application/json": {"schema": {"anyOf": [ReadingToCheck, ReadingsToCheck]}}},
}


@resource.serves(
    "/api/enhanced-anomaly-detection/",
    {200: {"application/json": {"anyOf": [DetectionView, DetectionListView]}}},
    method="POST",
    role="train",
    query=DetectionQuery,
    body=_DETECTION,
    errors=(404,),
    repeatable=False,
)
def detect(query: dict[str, Any]) -> dict[str, Any]:
    """Judge one reading, or several as `{"readings": […]}`; an anomaly gets a row unless `record=false`."""
    document = read_json()
    record = query["record"] in ("true", "1")
    if isinstance(document, dict) and "readings" in document:
        return {"results": _judged(load_document(ReadingsToCheck, document)["readings"], record)}
    return _judged([load_body(ReadingToCheck(), document)], record)[0]


@resource.serves("/api/drift-prediction/", {200: DriftForecastView}, query=DriftForecastQuery, errors=(404,))
def predict_drift(query: dict[str, Any]) -> dict[str, Any]:
    """Forecast a sensor's drift."""
    sensor = get_sensor_row(query["sensor_id"])
    found = sensor_monitor().forecast_drift(sensor, query["future_points"])
    points = [
        {**point, "time": from_microseconds(int(point["time"] * 1e6))} for point in found["predictions"]
    ]
    named = {"sensor_id": sensor["id"], "sensor_name": sensor["name"]}
    return {**named, **found, "predictions": points}


@resource.serves(
    "/api/adaptive-calibration/",
    {200: CorrectionView},
    method="POST",
    role="train",
    body=json_request_body(RawValueInput),
    errors=(404,),
    repeatable=False,
)
def correct_value() -> dict[str, Any]:
    """Correct a raw value; the correction is kept as a calibration with `source: model`."""
    asked = load_body(RawValueInput(), read_json())
    sensor = get_sensor_row(asked["sensor_id"])
    found: dict[str, Any] = {**sensor_monitor().correct(sensor, asked["raw_value"])}
    if found.get("due") and found["due"]["date"] is not None:
        found["due"] = {**found["due"], "date": from_microseconds(int(found["due"]["date"] * 1e6))}
    return {"sensor_id": sensor["id"], "raw_value": asked["raw_value"], **found}


def _judged(asked: list[JSON], record: bool) -> list[JSON]:
    """Verdicts in the order asked; each sensor's readings are judged together, in order of time."""
    for one in asked:
        one["timestamp"] = one["timestamp"] or utc_now()
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
        return {number: get_sensor_row(number) for number in ids}
    found = Sensors(database()).get_many(tenant(), ids)
    for number in sorted(ids - found.keys()):
        raise NotFound(f"There is no sensor {number}")
    return found


def _of_sensor(sensor: Row, asked: list[JSON], record: bool) -> list[JSON]:
    values = np.array([one["reading_value"] for one in asked])
    times = np.array([to_microseconds(one["timestamp"]) for one in asked])
    detections = sensor_monitor().detect(sensor, values, times, record)
    return [
        {
            "sensor_id": sensor["id"],
            "timestamp": one["timestamp"],
            **detection,
            "anomaly_id": detection.get("anomaly_id"),
        }
        for one, detection in zip(asked, detections, strict=True)
    ]
