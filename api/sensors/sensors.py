"""Sensors: what they are and how they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from api.http.fields import TimeBoundField
from api.http.resource import Resource
from api.http.schemas import OpenSchema, PageQuery
from api.sensors.context import database, get_sensor_row, tenant
from api.sensors.crud import CrudResource
from errors import InvalidContent
from prediction.records.fields import MAX_ABS_VALUE
from prediction.sensors.readings import SensorSeries
from prediction.sensors.readings.quality import check_quality
from prediction.sensors.training_data import MAX_READINGS
from storage.db.crud import Row, TenantTable, Where
from storage.sensors.readings import Readings, to_microseconds
from storage.sensors.sensors import SILENCE_SECONDS, STATUSES, Sensors
from storage.sensors.tables import SENSOR_TYPES, sensors

resource = Resource("sensors", "Sensors, and how good their data is.")

_FINITE = validate.Range(-MAX_ABS_VALUE, MAX_ABS_VALUE)


def number(description: str) -> fields.Float:
    """An optional finite number."""
    return fields.Float(
        load_default=None, allow_none=True, validate=_FINITE, metadata={"description": description}
    )


class SensorBody(Schema):
    """A sensor as it is registered."""

    class Meta:
        unknown = "exclude"

    name = fields.String(required=True, validate=[validate.Length(1, 200), validate.Regexp(r"[\s\S]*\S")])
    type = fields.String(required=True, validate=validate.OneOf(SENSOR_TYPES))
    unit = fields.String(load_default="", validate=validate.Length(0, 50))
    value = number("Its reading now; the drift baseline where there is no nominal value.")
    nominal_value = number("What it should show: drift is measured from here.")
    min_value = number("Lower limit.")
    max_value = number("Upper limit.")
    silence_seconds = fields.Integer(
        load_default=SILENCE_SECONDS,
        validate=validate.Range(1, 10**8),
        metadata={"description": "Silent for longer, it counts as offline."},
    )

    @validates_schema
    def limits_in_order(self, data: dict[str, Any], **kwargs: Any) -> None:
        """The lower limit is not above the upper one."""
        low, high = data.get("min_value"), data.get("max_value")
        if low is not None and high is not None and low > high:
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
    """How a list of sensors can be narrowed."""

    limit = fields.Integer(load_default=100, validate=validate.Range(1, 1000))
    cursor = fields.Integer(load_default=0, validate=validate.Range(0, 2**62))
    type = fields.String(validate=validate.OneOf(SENSOR_TYPES))
    status = fields.String(validate=validate.OneOf(STATUSES))
    name = fields.String(validate=validate.Length(1, 200), metadata={"description": "Part of the name."})


class QualityQuery(Schema):
    """Which readings a report is about."""

    since = TimeBoundField()
    until = TimeBoundField()


class QualityReport(OpenSchema):
    """What is wrong with a sensor's readings."""

    sensor_id = fields.Integer(required=True)
    readings = fields.Integer(required=True)
    problems = fields.List(fields.String(), required=True)


def _narrow(rows: TenantTable, query: Mapping[str, Any]) -> Where:
    found: list[sa.ColumnElement[bool]] = []
    if "type" in query:
        found.append(sensors.c.type == query["type"])
    if "name" in query:
        found.append(sensors.c.name.icontains(query["name"].replace("\0", ""), autoescape=True))
    if "status" in query and isinstance(rows, Sensors):
        found.append(rows.has_status(query["status"]))
    return found


def _create(rows: TenantTable, row: Row) -> int:
    assert isinstance(rows, Sensors)
    return rows.create(tenant(), [row])[0]


def _change(rows: TenantTable, row_id: int, values: Row) -> Row:
    """Change a sensor; what it says, only its readings change."""
    known = {**rows.get(tenant(), row_id), **values}
    if None not in (known["min_value"], known["max_value"]) and known["min_value"] > known["max_value"]:
        raise InvalidContent("min_value must not be above max_value")
    return rows.update(tenant(), row_id, {name: value for name, value in values.items() if name != "value"})


COLLECTION = CrudResource(
    "sensors", "sensor", Sensors, SensorBody, SensorView, SensorQuery, _narrow, _create, _change
)
COLLECTION.serve_reading(resource)
COLLECTION.serve_creating(resource)
COLLECTION.serve_changing(resource)


@resource.serves("/api/sensors/<number:sensor_id>/quality", {200: QualityReport}, query=QualityQuery)
def get_quality(query: dict[str, Any], sensor_id: int) -> dict[str, Any]:
    """Gaps, duplicates, late arrivals, constant stretches and readings beyond the limits.

    ---
    Of the latest half million readings of the period.
    """
    sensor = get_sensor_row(sensor_id)
    since, until = (to_microseconds(query[name]) if name in query else None for name in ("since", "until"))
    stored = Readings(database()).series(sensor_id, since=since, until=until, latest=MAX_READINGS)
    return {
        "sensor_id": sensor_id,
        **check_quality(SensorSeries.from_stored(stored), sensor["min_value"], sensor["max_value"]),
    }
