"""Ask a sensor's models: is a reading odd, where does it drift, how is it corrected. Fallbacks are named."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, pre_load, validate

from api.http.context import manager
from api.http.fields import InstantField, QueryFlag
from api.http.request_body import read_json
from api.http.resource import Document, Query, Resource
from api.http.schemas import OpenSchema, load_document
from api.sensors.context import (
    MAX_ID,
    SENSOR_ALIASES,
    SensorSchema,
    get_sensor_row,
    look_up_tags,
    sensor_service,
    tenant,
)
from api.sensors.crud import json_request_body
from errors import NotFound
from prediction.records.fields import MAX_ABS_VALUE
from storage.db.crud import Row
from storage.db.tables import utc_now
from storage.sensors.readings import from_microseconds, to_microseconds

resource = Resource("sensor models", "What the models of a sensor say.")

MAX_READINGS_AT_ONCE = 10_000
_FINITE = validate.Range(-MAX_ABS_VALUE, MAX_ABS_VALUE)


def _sensor_id() -> fields.Integer:
    return fields.Integer(required=True, strict=True, validate=validate.Range(1, MAX_ID))


class ReadingToCheck(SensorSchema):
    """A reading to be checked."""

    sensor_id = _sensor_id()
    reading_value = fields.Float(required=True, validate=_FINITE)
    timestamp = InstantField(allow_none=True, load_default=None)


class ReadingsToCheck(Schema):
    """Readings to be checked together."""

    readings = fields.List(
        fields.Nested(ReadingToCheck), required=True, validate=validate.Length(1, MAX_READINGS_AT_ONCE)
    )

    @pre_load
    def look_up_tags(self, data: dict[str, object], **_: object) -> dict[str, object]:
        """Look up the tags of all readings at once."""
        readings = data.get("readings")
        if isinstance(readings, list):
            records = [reading for reading in readings if isinstance(reading, dict)]
            look_up_tags(record.get(name) for record in records for name in ("sensor_id", *SENSOR_ALIASES))
        return data


class DetectionQuery(Schema):
    """Whether an anomaly that is detected gets a row."""

    store = QueryFlag("0: store no anomalies.", default=True)


class KeptAnswerView(OpenSchema):
    """An answer of a model, or of the fallback rule, which no version can reproduce."""

    model_used = fields.String(required=True)
    fallback_reason = fields.String(required=True, allow_none=True)
    prediction_id = fields.String(
        allow_none=True, metadata={"description": "GET /predictions/<id> explains it; absent for a rule."}
    )
    warnings = fields.List(fields.String(), metadata={"description": "Why it is not kept."})


class DetectionView(KeptAnswerView):
    """What a model, or the fallback rule, says of a reading."""

    sensor_id = fields.Integer(required=True)
    is_anomaly = fields.Boolean(required=True)
    anomaly_score = fields.Float(required=True)
    confidence = fields.Float(required=True, allow_none=True)
    severity = fields.String(required=True, allow_none=True)
    type = fields.String(required=True, allow_none=True)
    expected = fields.Float(required=True, allow_none=True)
    expected_low = fields.Float()
    expected_high = fields.Float()
    parts = fields.List(fields.String())
    released_by = fields.Integer(
        metadata={"description": "The anomaly whose verdict makes this reading ordinary; absent for others."}
    )


class DetectionListView(OpenSchema):
    """Detections in the order of the readings."""

    results = fields.List(fields.Nested(DetectionView))


class DriftForecastQuery(SensorSchema):
    """Whose drift, and how far."""

    sensor_id = fields.Integer(required=True, validate=validate.Range(1, MAX_ID))
    future_points = fields.Integer(load_default=10, validate=validate.Range(1, 1_000))


class DriftForecastView(KeptAnswerView):
    """Drift now and to come, in per cent of the baseline."""

    sensor_id = fields.Integer(required=True)
    current_drift = fields.Float(required=True)
    predictions = fields.List(fields.Dict(), required=True)


class RawValueInput(SensorSchema):
    """A raw value to be corrected."""

    sensor_id = _sensor_id()
    raw_value = fields.Float(required=True, validate=_FINITE)


class CorrectionView(KeptAnswerView):
    """A corrected value with its expanded uncertainty (95 %)."""

    sensor_id = fields.Integer(required=True)
    corrected_value = fields.Float(required=True)
    correction_factor = fields.Float(required=True, allow_none=True)
    uncertainty = fields.Float(required=True, allow_none=True)


_DETECTION_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"anyOf": [ReadingToCheck, ReadingsToCheck]}}},
}


@resource.operation(
    "/api/enhanced-anomaly-detection/",
    {200: {"application/json": {"anyOf": [DetectionView, DetectionListView]}}},
    method="POST",
    role="train",
    query=DetectionQuery,
    body=_DETECTION_BODY,
    errors=(404,),
    idempotent=True,
)
def detect(query: Query) -> ResponseReturnValue:
    """Check one reading, or several as `{"readings": […]}`; an anomaly gets a row unless `store=0`."""
    document = read_json()
    if isinstance(document, dict) and "readings" in document:
        readings = load_document(_READINGS_SCHEMA, document)["readings"]
        return {"results": _detect_all(readings, query["store"])}
    return _detect_all([load_document(_READING_SCHEMA, document)], query["store"])[0]


# Building a schema costs as much as a detection.
_READING_SCHEMA, _READINGS_SCHEMA = ReadingToCheck(), ReadingsToCheck()


@resource.operation(
    "/api/drift-prediction/", {200: DriftForecastView}, query=DriftForecastQuery, errors=(404,)
)
def predict_drift(query: Query) -> ResponseReturnValue:
    """Forecast a sensor's drift."""
    sensor = get_sensor_row(query["sensor_id"])
    forecast = sensor_service(keeps_answers=True).forecast_drift(sensor, query["future_points"])
    points = [
        {**point, "time": from_microseconds(int(point["time"] * 1e6))} for point in forecast["predictions"]
    ]
    return {"sensor_id": sensor["id"], "sensor_name": sensor["name"], **forecast, "predictions": points}


@resource.operation(
    "/api/adaptive-calibration/",
    {200: CorrectionView},
    method="POST",
    role="train",
    body=json_request_body(RawValueInput),
    errors=(404,),
    idempotent=True,
)
def correct_value() -> ResponseReturnValue:
    """Correct a raw value; the correction is stored as a calibration with `source: model`."""
    reading = load_document(RawValueInput, read_json())
    sensor = get_sensor_row(reading["sensor_id"])
    correction: Document = {**sensor_service(keeps_answers=True).correct(sensor, reading["raw_value"])}
    due = correction.get("due")
    if isinstance(due, dict) and due["date"] is not None:
        correction["due"] = {**due, "date": from_microseconds(int(due["date"] * 1e6))}
    return {"sensor_id": sensor["id"], "raw_value": reading["raw_value"], **correction}


def _detect_all(readings: list[Row], store: bool) -> list[Document]:
    """Return detections in the order of the readings; those of one sensor are checked together, by time."""
    positions: dict[int, list[int]] = defaultdict(list)
    for position, reading in enumerate(readings):
        reading["timestamp"] = reading["timestamp"] or utc_now()
        positions[reading["sensor_id"]].append(position)
    # All sensors are looked up first: where one is unknown, nothing has been checked or stored.
    sensors = _get_sensors(sorted(positions))
    detections: list[Document] = [{} for _ in readings]
    for sensor_id, sensor in sensors.items():
        ordered = sorted(positions[sensor_id], key=lambda position: readings[position]["timestamp"])
        results = _detect_for_sensor(sensor, [readings[position] for position in ordered], store)
        for position, result in zip(ordered, results, strict=True):
            detections[position] = result
    return detections


def _get_sensors(ids: list[int]) -> dict[int, Row]:
    if len(ids) == 1:
        return {ids[0]: get_sensor_row(ids[0])}
    rows = manager().sensors.sensors.get_many(tenant(), ids)
    for sensor_id in ids:
        if sensor_id not in rows:
            raise NotFound(f"There is no sensor {sensor_id}")
    return {sensor_id: rows[sensor_id] for sensor_id in ids}


def _detect_for_sensor(sensor: Row, readings: list[Row], store: bool) -> list[Document]:
    values = np.array([reading["reading_value"] for reading in readings])
    times = np.array([to_microseconds(reading["timestamp"]) for reading in readings])
    detections = sensor_service(keeps_answers=True).detect(sensor, values, times, store)
    return [
        {
            "sensor_id": sensor["id"],
            "timestamp": reading["timestamp"],
            **detection,
            "anomaly_id": detection.get("anomaly_id"),
        }
        for reading, detection in zip(readings, detections, strict=True)
    ]
