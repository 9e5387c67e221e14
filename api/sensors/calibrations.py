"""Calibrations: made by hand, or applied by a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, fields, validate

from api.instants import Instant
from api.resource import Resource
from api.schemas import Answer
from api.sensors.collection import Collection, Period, insert
from api.sensors.context import LARGEST_ID
from prediction.record_fields import LARGEST
from storage.sensors.calibrations import BY_HAND, BY_MODEL, Calibrations
from storage.sensors.rows import Row, Rows, Where
from storage.sensors.tables import CALIBRATION_METHODS, calibrations
from storage.tables import now

resource = Resource("calibrations", "What the true value was found to be.")


class CalibrationBody(Schema):
    """A calibration somebody made."""

    class Meta:
        unknown = "exclude"

    sensor_id = fields.Integer(required=True, strict=True, validate=validate.Range(1, LARGEST_ID))
    method = fields.String(load_default="linear", validate=validate.OneOf(CALIBRATION_METHODS))
    params = fields.Dict(load_default=dict, keys=fields.String())
    corrected_value = fields.Float(required=True, validate=validate.Range(-LARGEST, LARGEST))
    applied_at = Instant(load_default=now, metadata={"description": "Now, where it is missing."})


class CalibrationView(Answer):
    """A calibration as it is kept."""

    id = fields.Integer(required=True)
    sensor_id = fields.Integer(required=True)
    method = fields.String(required=True)
    params = fields.Dict(required=True)
    corrected_value = fields.Float(required=True)
    applied_at = fields.DateTime(required=True)
    source = fields.String(required=True, validate=validate.OneOf((BY_HAND, BY_MODEL)))


class CalibrationQuery(Period):
    """How a list of calibrations can be narrowed."""

    method = fields.String(validate=validate.OneOf(CALIBRATION_METHODS))
    source = fields.String(validate=validate.OneOf((BY_HAND, BY_MODEL)))


def _narrow(rows: Rows, query: Mapping[str, Any]) -> Where:
    equal = ("sensor_id", "method", "source")
    found: list[sa.ColumnElement[bool]] = [calibrations.c[n] == query[n] for n in equal if n in query]
    if "since" in query:
        found.append(calibrations.c.applied_at >= query["since"])
    if "until" in query:
        found.append(calibrations.c.applied_at <= query["until"])
    return found


def _by_hand(rows: Rows, row: Row) -> int:
    return insert(rows, {**row, "source": BY_HAND})


COLLECTION = Collection(
    "calibrations",
    "calibration",
    Calibrations,
    CalibrationBody,
    CalibrationView,
    CalibrationQuery,
    _narrow,
    _by_hand,
)
COLLECTION.serve_reading(resource)
COLLECTION.serve_creating(resource)
COLLECTION.serve_changing(resource)
