"""Calibrations: made by hand, or applied by a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, fields, validate

from api.http.fields import InstantField
from api.http.resource import Resource
from api.http.schemas import OpenSchema
from api.sensors.context import MAX_ID
from api.sensors.crud import CrudResource, SensorTimeQuery, insert
from prediction.records.fields import MAX_ABS_VALUE
from storage.db.crud import Row, TenantTable, Where
from storage.db.tables import utc_now
from storage.sensors.calibrations import SOURCE_MANUAL, SOURCE_MODEL, Calibrations
from storage.sensors.tables import CALIBRATION_METHODS, calibrations

resource = Resource("calibrations", "What the true value was found to be.")


class CalibrationBody(Schema):
    """A calibration somebody made."""

    class Meta:
        unknown = "exclude"

    sensor_id = fields.Integer(required=True, strict=True, validate=validate.Range(1, MAX_ID))
    method = fields.String(load_default="linear", validate=validate.OneOf(CALIBRATION_METHODS))
    params = fields.Dict(load_default=dict, keys=fields.String())
    corrected_value = fields.Float(required=True, validate=validate.Range(-MAX_ABS_VALUE, MAX_ABS_VALUE))
    applied_at = InstantField(load_default=utc_now, metadata={"description": "Now, where it is missing."})


class CalibrationView(OpenSchema):
    """A calibration as it is kept."""

    id = fields.Integer(required=True)
    sensor_id = fields.Integer(required=True)
    method = fields.String(required=True)
    params = fields.Dict(required=True)
    corrected_value = fields.Float(required=True)
    applied_at = fields.DateTime(required=True)
    source = fields.String(required=True, validate=validate.OneOf((SOURCE_MANUAL, SOURCE_MODEL)))


class CalibrationQuery(SensorTimeQuery):
    """How a list of calibrations can be narrowed."""

    method = fields.String(validate=validate.OneOf(CALIBRATION_METHODS))
    source = fields.String(validate=validate.OneOf((SOURCE_MANUAL, SOURCE_MODEL)))


def _narrow(rows: TenantTable, query: Mapping[str, Any]) -> Where:
    equal = ("sensor_id", "method", "source")
    found: list[sa.ColumnElement[bool]] = [calibrations.c[n] == query[n] for n in equal if n in query]
    if "since" in query:
        found.append(calibrations.c.applied_at >= query["since"])
    if "until" in query:
        found.append(calibrations.c.applied_at <= query["until"])
    return found


def _by_hand(rows: TenantTable, row: Row) -> int:
    return insert(rows, {**row, "source": SOURCE_MANUAL})


COLLECTION = CrudResource(
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
