"""Calibrations: made by hand, or applied by a model."""

from __future__ import annotations

from marshmallow import fields, validate

from api.http.context import manager
from api.http.fields import InstantField
from api.http.resource import Query, Resource
from api.http.schemas import OpenSchema
from api.sensors.context import MAX_ID, SensorSchema
from api.sensors.crud import CrudResource, SensorTimeQuery, build_conditions, insert_for_sensor
from prediction.records.fields import MAX_ABS_VALUE
from storage.db.crud import Row, TenantTable, Where
from storage.db.tables import utc_now
from storage.sensors.calibrations import SOURCE_MANUAL, SOURCE_MODEL
from storage.sensors.tables import CALIBRATION_METHODS, calibrations

resource = Resource("calibrations", "What the true value was found to be.")


class CalibrationBody(SensorSchema):
    """A calibration that somebody made."""

    sensor_id = fields.Integer(required=True, strict=True, validate=validate.Range(1, MAX_ID))
    method = fields.String(load_default="linear", validate=validate.OneOf(CALIBRATION_METHODS))
    params = fields.Dict(load_default=dict, keys=fields.String())
    corrected_value = fields.Float(required=True, validate=validate.Range(-MAX_ABS_VALUE, MAX_ABS_VALUE))
    applied_at = InstantField(load_default=utc_now, metadata={"description": "Now, where it is missing."})


class CalibrationView(OpenSchema):
    """A calibration as it is stored."""

    id = fields.Integer(required=True)
    sensor_id = fields.Integer(required=True)
    method = fields.String(required=True)
    params = fields.Dict(required=True)
    corrected_value = fields.Float(required=True)
    applied_at = fields.DateTime(required=True)
    source = fields.String(required=True, validate=validate.OneOf((SOURCE_MANUAL, SOURCE_MODEL)))


class CalibrationQuery(SensorTimeQuery):
    """How a list of calibrations can be filtered."""

    method = fields.String(validate=validate.OneOf(CALIBRATION_METHODS))
    source = fields.String(validate=validate.OneOf((SOURCE_MANUAL, SOURCE_MODEL)))


def _filter(query: Query) -> Where:
    columns = {name: calibrations.c[name] for name in ("sensor_id", "method", "source")}
    return build_conditions(query, equal=columns, starts=calibrations.c.applied_at)


def _insert_manual(table: TenantTable, row: Row) -> int:
    return insert_for_sensor(table, {**row, "source": SOURCE_MANUAL})


CALIBRATIONS = CrudResource(
    path="calibrations/",
    noun="calibration",
    plural="calibrations",
    table=lambda: manager().sensors.calibrations,
    view=CalibrationView,
    query=CalibrationQuery,
    filters=_filter,
    body=CalibrationBody,
    create=_insert_manual,
)
CALIBRATIONS.add_read_routes(resource)
CALIBRATIONS.add_create_route(resource)
CALIBRATIONS.add_change_routes(resource)
