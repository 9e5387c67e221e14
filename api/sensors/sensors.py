"""Sensors, and how good their data is."""

from __future__ import annotations

from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from api.http.context import manager
from api.http.fields import TimeBoundField
from api.http.resource import Query, Resource
from api.http.schemas import OpenSchema, PageQuery
from api.sensors.context import get_sensor_row, tenant
from api.sensors.crud import CrudResource, build_conditions
from errors import InvalidContent
from prediction.records.fields import MAX_ABS_VALUE
from prediction.sensors.readings import SensorSeries
from prediction.sensors.readings.quality import check_quality
from prediction.sensors.training_data import MAX_READINGS
from storage.db.crud import Row, TenantTable, Where
from storage.sensors.readings import to_microseconds
from storage.sensors.sensors import SILENCE_SECONDS, STATUSES
from storage.sensors.tables import SENSOR_TYPES, sensors

resource = Resource("sensors", "Sensors, and how good their data is.")


def _optional_number(description: str) -> fields.Float:
    finite = validate.Range(-MAX_ABS_VALUE, MAX_ABS_VALUE)
    return fields.Float(
        load_default=None, allow_none=True, validate=finite, metadata={"description": description}
    )


class SensorBody(Schema):
    """A sensor as it is registered."""

    name = fields.String(required=True, validate=[validate.Length(1, 200), validate.Regexp(r"[\s\S]*\S")])
    type = fields.String(required=True, validate=validate.OneOf(SENSOR_TYPES))
    unit = fields.String(load_default="", validate=validate.Length(0, 50))
    value = _optional_number("Its reading now; the drift baseline where there is no nominal value.")
    nominal_value = _optional_number("What it should show: drift is measured from here.")
    min_value = _optional_number("Lower limit.")
    max_value = _optional_number("Upper limit.")
    silence_seconds = fields.Integer(
        load_default=SILENCE_SECONDS,
        validate=validate.Range(1, 10**8),
        metadata={"description": "Silent for longer, it counts as offline."},
    )

    @validates_schema
    def check_limits(self, data: Row, **kwargs: object) -> None:
        """Raise ValidationError if the lower limit is above the upper one."""
        if not _are_limits_in_order(data):
            raise ValidationError("must not be above max_value", "min_value")


class SensorView(OpenSchema):
    """A sensor as it is now."""

    id = fields.Integer(required=True)
    name = fields.String(required=True)
    type = fields.String(required=True)
    unit = fields.String(required=True)
    value = fields.Float(required=True, allow_none=True)
    nominal_value = fields.Float(required=True, allow_none=True)
    min_value = fields.Float(required=True, allow_none=True)
    max_value = fields.Float(required=True, allow_none=True)
    drift = fields.Float(required=True, allow_none=True, metadata={"description": "Per cent."})
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    last_updated = fields.DateTime(required=True, allow_none=True)


class SensorQuery(PageQuery):
    """How a list of sensors can be filtered."""

    limit = fields.Integer(load_default=100, validate=validate.Range(1, 1000))
    cursor = fields.Integer(load_default=0, validate=validate.Range(0, 2**62))
    type = fields.String(validate=validate.OneOf(SENSOR_TYPES))
    status = fields.String(validate=validate.OneOf(STATUSES))
    name = fields.String(validate=validate.Length(1, 200), metadata={"description": "Part of the name."})


class QualityQuery(Schema):
    """Which readings a report is about."""

    since = TimeBoundField()
    until = TimeBoundField()


class QualityReportView(OpenSchema):
    """What is wrong with a sensor's readings."""

    sensor_id = fields.Integer(required=True)
    readings = fields.Integer(required=True)
    problems = fields.List(fields.String(), required=True)


def _filter(query: Query) -> Where:
    conditions = list(build_conditions(query, equal={"type": sensors.c.type}, starts=sensors.c.last_updated))
    if "name" in query:
        conditions.append(sensors.c.name.icontains(query["name"].replace("\0", ""), autoescape=True))
    if "status" in query:
        conditions.append(manager().sensors.sensors.has_status(query["status"]))
    return conditions


def _create(table: TenantTable, row: Row) -> int:
    return manager().sensors.sensors.create(tenant(), [row])[0]


def _change(table: TenantTable, row_id: int, values: Row) -> Row:
    # A PATCH may carry one limit alone: the pair that results is what must be in order.
    if not _are_limits_in_order({**table.get(tenant(), row_id), **values}):
        raise InvalidContent("min_value must not be above max_value")
    # The present value of a sensor follows its readings only.
    return table.update(tenant(), row_id, {name: value for name, value in values.items() if name != "value"})


def _are_limits_in_order(sensor: Row) -> bool:
    low, high = sensor.get("min_value"), sensor.get("max_value")
    return low is None or high is None or low <= high


SENSORS = CrudResource(
    path="sensors/",
    noun="sensor",
    table=lambda: manager().sensors.sensors,
    view=SensorView,
    query=SensorQuery,
    filters=_filter,
    body=SensorBody,
    create=_create,
    change=_change,
)
SENSORS.add_read_routes(resource)
SENSORS.add_create_route(resource)
SENSORS.add_change_routes(resource)


@resource.operation("/api/sensors/<number:sensor_id>/quality", {200: QualityReportView}, query=QualityQuery)
def get_quality(query: Query, sensor_id: int) -> ResponseReturnValue:
    """Report gaps, duplicates, late arrivals, constant stretches and readings beyond the limits.

    ---
    Of the latest half million readings of the period.
    """
    sensor = get_sensor_row(sensor_id)
    since, until = (to_microseconds(query[name]) if name in query else None for name in ("since", "until"))
    stored = manager().sensors.readings.series(sensor_id, since=since, until=until, latest=MAX_READINGS)
    return {
        "sensor_id": sensor_id,
        **check_quality(SensorSeries.from_stored(stored), sensor["min_value"], sensor["max_value"]),
    }
