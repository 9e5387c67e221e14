"""Sensors, and how good their data is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from api.http.context import manager
from api.http.fields import PRINTABLE, TimeBoundField
from api.http.resource import Query, Resource
from api.http.schemas import OpenSchema, PageQuery
from api.sensors.context import MAX_ID, get_sensor_row, tenant
from api.sensors.crud import CrudResource, build_conditions
from errors import InvalidContent
from prediction.records.fields import MAX_ABS_VALUE
from prediction.sensors.readings import SensorSeries
from prediction.sensors.readings.quality import check_quality
from prediction.sensors.readings.reading_records import MAX_TAG_LENGTH, TAG_RULE, is_valid_tag
from prediction.sensors.training_data import MAX_READINGS
from storage.db.crud import Row, TenantTable, Where
from storage.sensors.charts import MAX_CHART_COLUMNS, read_chart
from storage.sensors.readings import from_microseconds, to_microseconds
from storage.sensors.sensors import SILENCE_SECONDS, STATUSES
from storage.sensors.tables import SENSOR_TYPES, sensors

resource = Resource("sensors", "Sensors, and how good their data is.")


def _optional_number(description: str) -> fields.Float:
    finite = validate.Range(-MAX_ABS_VALUE, MAX_ABS_VALUE)
    return fields.Float(
        load_default=None, allow_none=True, validate=finite, metadata={"description": description}
    )


class TagField(fields.String):
    """The plant's own name of a sensor: case kept, and never digits alone, which are a sensor's number."""

    def __init__(self, **options: Any) -> None:
        description = f"The plant's own name, unique in a tenant: {TAG_RULE}."
        metadata = {"description": description, "example": "TI-1023.PV"}
        length = validate.Length(1, MAX_TAG_LENGTH)
        super().__init__(validate=[length, _check_tag], metadata=metadata, **options)


def _check_tag(tag: str) -> None:
    if not is_valid_tag(tag):
        raise ValidationError(f"must have {TAG_RULE}")


class SensorBody(Schema):
    """A sensor as it is registered."""

    id = fields.Integer(
        strict=True,
        validate=validate.Range(1, MAX_ID),
        metadata={
            "description": "A number that no other sensor has; the next free one, where it is missing."
        },
    )
    tag = TagField(load_default=None, allow_none=True)

    name = fields.String(required=True, validate=[validate.Length(1, 200), PRINTABLE])
    type = fields.String(
        required=True,
        validate=[validate.Length(1, 50), PRINTABLE],
        metadata={"description": f"{', '.join(SENSOR_TYPES)}, or any other."},
    )
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
    tag = fields.String(required=True, allow_none=True)
    type = fields.String(required=True)
    unit = fields.String(required=True)
    value = fields.Float(required=True, allow_none=True)
    nominal_value = fields.Float(required=True, allow_none=True)
    min_value = fields.Float(required=True, allow_none=True)
    max_value = fields.Float(required=True, allow_none=True)
    drift = fields.Float(required=True, allow_none=True, metadata={"description": "Per cent."})
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    last_updated = fields.DateTime(required=True, allow_none=True)
    warnings = fields.List(
        fields.String(),
        metadata={
            "description": "Where a sensor was created or changed, and readings of its tag could not be stored yet."
        },
    )


class SensorQuery(PageQuery):
    """How a list of sensors can be filtered."""

    limit = fields.Integer(load_default=100, validate=validate.Range(1, 1000))
    cursor = fields.Integer(load_default=0, validate=validate.Range(0, 2**62))
    type = fields.String(validate=validate.Length(1, 50))
    tag = fields.String(validate=validate.Length(1, 200))
    status = fields.String(validate=validate.OneOf(STATUSES))
    name = fields.String(validate=validate.Length(1, 200), metadata={"description": "Part of the name."})


class QualityQuery(Schema):
    """Which readings a report is about."""

    since = TimeBoundField()
    until = TimeBoundField()


class ChartQuery(QualityQuery):
    """Which readings a chart shows, and how wide it is."""

    columns = fields.Integer(
        load_default=MAX_CHART_COLUMNS,
        validate=validate.Range(1, MAX_CHART_COLUMNS),
        metadata={"description": "Pixel columns of the chart."},
    )


class ChartColumnView(OpenSchema):
    """The readings of one pixel column."""

    first_at = fields.DateTime(required=True)
    last_at = fields.DateTime(required=True)
    low = fields.Float(required=True, metadata={"description": "The smallest reading."})
    high = fields.Float(required=True, metadata={"description": "The largest reading."})
    readings = fields.Integer(required=True)


class ChartView(OpenSchema):
    """A sensor's readings, thinned for a chart."""

    sensor_id = fields.Integer(required=True)
    unit = fields.String(required=True)
    readings = fields.Integer(required=True, metadata={"description": "Readings of the period."})
    columns = fields.List(fields.Nested(ChartColumnView), required=True)


class QualityReportView(OpenSchema):
    """What is wrong with a sensor's readings."""

    sensor_id = fields.Integer(required=True)
    readings = fields.Integer(required=True)
    problems = fields.List(fields.String(), required=True)


def _filter(query: Query) -> Where:
    conditions = list(
        build_conditions(
            query, equal={"type": sensors.c.type, "tag": sensors.c.tag}, starts=sensors.c.last_updated
        )
    )
    if "name" in query:
        conditions.append(sensors.c.name.icontains(query["name"].replace("\0", ""), autoescape=True))
    if "status" in query:
        conditions.append(manager().sensors.sensors.has_status(query["status"]))
    return conditions


def _create(table: TenantTable, row: Row) -> int:
    if "id" in row:
        manager().sensors.sensors.insert_with_ids(tenant(), [row])
        row_id: int = row["id"]
    else:
        (row_id,) = manager().sensors.sensors.create(tenant(), [row])
    return row_id


def get_by_tag(tag: str) -> Row | None:
    """Return the caller's sensor with a tag; None where there is none."""
    ids = manager().sensors.sensors.find_tags(tenant(), [tag])
    return get_sensor_row(ids[tag]) if tag in ids else None


def _adopt_waiting(sensor: Row) -> Sequence[str]:
    """Store what waited for the tag of a sensor; return warnings of what goes on waiting."""
    if not sensor["tag"]:
        return ()
    return manager().sensors.waiting.adopt_registered(tenant(), [sensor["tag"]]).warnings


def _change(table: TenantTable, row_id: int, values: Row) -> Row:
    # A PATCH may carry one limit alone: the pair that results is what must be in order.
    if not _are_limits_in_order({**table.get(tenant(), row_id), **values}):
        raise InvalidContent("min_value must not be above max_value")
    # The present value of a sensor follows its readings only.
    if values.pop("id", row_id) != row_id:
        raise InvalidContent("id: the number of a sensor cannot be changed")
    return table.update(tenant(), row_id, {name: value for name, value in values.items() if name != "value"})


def _are_limits_in_order(sensor: Row) -> bool:
    low, high = sensor.get("min_value"), sensor.get("max_value")
    return low is None or high is None or low <= high


SENSORS = CrudResource(
    path="sensors/",
    noun="sensor",
    plural="sensors",
    table=lambda: manager().sensors.sensors,
    view=SensorView,
    query=SensorQuery,
    filters=_filter,
    body=SensorBody,
    create=_create,
    change=_change,
    settle=_adopt_waiting,
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
    since, until = _read_period(query)
    stored = manager().sensors.readings.series(sensor_id, since=since, until=until, latest=MAX_READINGS)
    return {
        "sensor_id": sensor_id,
        **check_quality(SensorSeries.from_stored(stored), sensor["min_value"], sensor["max_value"]),
    }


@resource.operation("/api/sensors/<number:sensor_id>/chart", {200: ChartView}, query=ChartQuery)
def get_chart(query: Query, sensor_id: int) -> ResponseReturnValue:
    """Return a sensor's readings thinned for a chart, in order of time.

    ---
    Of every pixel column the smallest and the largest reading, so that no spike is lost. Columns without a
    reading are left out.
    """
    sensor = get_sensor_row(sensor_id)
    since, until = _read_period(query)
    chart = read_chart(manager().sensors.database, sensor_id, query["columns"], since, until)
    fields_of_columns = (chart.first, chart.last, chart.low, chart.high, chart.count)
    return {
        "sensor_id": sensor_id,
        "unit": sensor["unit"],
        "readings": int(chart.count.sum()),
        "columns": [
            {
                "first_at": from_microseconds(first),
                "last_at": from_microseconds(last),
                "low": low,
                "high": high,
                "readings": count,
            }
            for first, last, low, high, count in zip(
                *(field.tolist() for field in fields_of_columns), strict=True
            )
        ],
    }


def _read_period(query: Query) -> tuple[int | None, int | None]:
    """Return the bounds of a period in microseconds since 1970, None where one is open."""
    since, until = (to_microseconds(query[name]) if name in query else None for name in ("since", "until"))
    return since, until
