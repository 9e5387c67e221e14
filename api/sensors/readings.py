"""Readings: one, many, NDJSON or CSV in; checked for anomalies on arrival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import sqlalchemy as sa
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.context import manager
from api.http.fields import QueryFlag
from api.http.request_body import BINARY_TABLE_TYPES, CSV_TYPE, NDJSON_TYPE, check_count, read_records
from api.http.resource import Document, Query, Resource
from api.http.schemas import OpenSchema, TableQuery
from api.sensors.context import MAX_ID, row_to_dict, sensor_service, tenant
from api.sensors.crud import CrudResource, Page, SensorTimeQuery, build_conditions, page_by_id
from api.sensors.reading_tags import TagNumbers
from errors import InvalidRecords
from prediction.records.columns import ColumnNames
from prediction.records.fields import MAX_ABS_VALUE, placeholder_warnings
from prediction.sensors.readings.reading_records import (
    MAX_READINGS,
    READING_SCHEMA,
    OnUnknown,
    collect_tags,
    count_placeholder_records,
    find_unknown_sensors,
    parse_readings,
)
from prediction.sensors.serving.new_anomalies import NewAnomalies
from storage.db.crud import Row, TenantTable, Where
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import to_microseconds
from storage.sensors.repeated_readings import drop_repeated
from storage.sensors.tables import readings
from storage.sensors.waiting_readings import UnknownReadings

resource = Resource("readings", "What sensors sent.")

# A response names so many faults and anomalies one by one, and counts all.
MAX_FAULTS = 1_000
_FINITE = validate.Range(-MAX_ABS_VALUE, MAX_ABS_VALUE)


class ReadingBody(Schema):
    """One reading."""

    class Meta:
        unknown = "include"

    sensor_id = fields.Integer(
        required=True,
        validate=validate.Range(1, MAX_ID),
        metadata={"description": "Its number; `tag` in its place has the sensor's tag."},
    )
    raw_value = fields.Float(required=True, validate=_FINITE)
    timestamp = fields.DateTime(allow_none=True, metadata={"description": "Now, where it is missing."})


class DatedReading(ReadingBody):
    """One of several readings."""

    timestamp = fields.DateTime(required=True)


class ReadingChange(Schema):
    """What can be corrected in a reading."""

    raw_value = fields.Float(required=True, validate=_FINITE)


class ReadingView(OpenSchema):
    """A reading as it is stored."""

    id = fields.Integer(required=True)
    sensor_id = fields.Integer(required=True)
    raw_value = fields.Float(required=True)
    timestamp = fields.DateTime(required=True)


class ReadingsIngestQuery(TableQuery):
    """How readings are ingested."""

    detect = QueryFlag("0: do not look for anomalies.", default=True)
    value_column = fields.String(
        validate=validate.Length(1, 200), metadata={"description": "The column of the values."}
    )
    wide = QueryFlag("Each column but that of the time is a tag, and each cell a reading.")
    skip_invalid = QueryFlag("Store the valid lines of a body, and report the invalid ones.")
    on_unknown = fields.String(
        load_default=OnUnknown.REFUSE,
        validate=validate.OneOf(tuple(OnUnknown)),
        metadata={
            "description": "Readings of unknown tags are refused, wait (`queue`), or make sensors (`create`)."
        },
    )


class ReadingsIngestResult(OpenSchema):
    """What became of the readings."""

    success = fields.Boolean(required=True)
    accepted = fields.Integer(required=True)
    repeated = fields.Integer(
        required=True,
        metadata={
            "description": "Left out: readings with sensor, time and value of another one of the body."
        },
    )
    waiting = fields.Integer(required=True, metadata={"description": "Readings that wait for their tag."})
    created_sensors = fields.List(
        fields.Dict(),
        required=True,
        metadata={
            "description": f"Number and tag of sensors that `on_unknown` made, the first {MAX_FAULTS:,}."
        },
    )
    rejected = fields.List(fields.Dict(), required=True)
    anomalies = fields.List(
        fields.Dict(), required=True, metadata={"description": f"The first {MAX_FAULTS:,}."}
    )
    anomalies_count = fields.Integer(required=True)
    ignored_fields = fields.List(fields.String(), required=True)
    warnings = fields.List(fields.String(), required=True)


def _filter(query: Query) -> Where:
    # `sensor_id` is no condition here: one sensor's readings come in order of time, by a query of their own.
    return build_conditions(query, equal={}, starts=readings.c.timestamp, convert=to_microseconds)


def _paginate(table: TenantTable, where: Where, query: Query) -> Page:
    """Return one sensor's readings in order of time, or all sensors' in order of arrival."""
    if "sensor_id" not in query:
        return page_by_id(table, where, query)
    return manager().sensors.readings.page_by_time(
        tenant(),
        query["sensor_id"],
        where,
        query["limit"],
        query["cursor"],
        newest_first=query["newest_first"],
    )


READINGS = CrudResource(
    path="readings/",
    noun="reading",
    plural="readings",
    table=lambda: manager().sensors.readings,
    view=ReadingView,
    query=SensorTimeQuery,
    filters=_filter,
    body=ReadingChange,
    paginate=_paginate,
)
READINGS.add_read_routes(resource)
READINGS.add_change_routes(resource)

_MANY = {"type": "array", "items": DatedReading, "minItems": 1, "maxItems": MAX_READINGS}
_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"anyOf": [ReadingBody, _MANY]}},
        NDJSON_TYPE: {"schema": {"type": "string"}},
        CSV_TYPE: {"schema": {"type": "string"}},
        **{name: {"schema": {"type": "string", "format": "binary"}} for name in BINARY_TABLE_TYPES},
    },
}


@resource.operation(
    "/api/readings/",
    {201: ReadingsIngestResult},
    method="POST",
    role="train",
    query=ReadingsIngestQuery,
    body=_BODY,
    idempotent=True,
)
def create_readings(query: Query) -> ResponseReturnValue:
    """Store one reading, an array, NDJSON lines, a CSV text, a workbook, or a Parquet or Arrow table.

    ---
    A body with a wrong line is refused as a whole with each wrong line named, unless `skip_invalid=1`.
    """
    parsed = read_records(query["date_order"], MAX_READINGS, query["sheet"])
    columns = ColumnNames(
        query.get("time_column"), query.get("tag_column"), query.get("value_column"), is_wide=query["wide"]
    )
    records = list(islice(columns.rename(parsed.records, is_single=parsed.is_single), MAX_READINGS + 1))
    hint = ": every cell beside the times is empty" if parsed.records else ""
    check_count(records, MAX_READINGS, "readings", hint)
    tags = TagNumbers(collect_tags(records), query["on_unknown"])
    block, lines, faults = parse_readings(records, parsed.is_single, tags.numbers)
    sensors = manager().sensors.sensors.get_many(tenant(), set(block.sensors.tolist()))
    unknown = find_unknown_sensors(block, lines, {**sensors, **tags.unknown})
    faults = sorted([*faults, *unknown], key=lambda fault: fault["record"] or 0)
    if faults and not query["skip_invalid"]:
        raise InvalidRecords(faults[:MAX_FAULTS], wrong=len(faults))
    if unknown:
        block = block.select(np.isin(block.sensors, [*sensors, *tags.unknown]))
    distinct = drop_repeated(block, tags.unknown)
    block, waits = tags.settle(distinct.block)
    if tags.created:
        sensors = manager().sensors.sensors.get_many(tenant(), set(block.sensors.tolist()))
    stored = store_readings(block, sensors, query["detect"], waits)
    result: Document = {
        "success": True,
        "accepted": len(block) + stored.adopted,
        "repeated": distinct.repeated,
        "waiting": len(waits.tags) - stored.adopted if waits else 0,
        "created_sensors": [
            {"id": number, "tag": tag} for number, tag in list(tags.created.items())[:MAX_FAULTS]
        ],
        "rejected": faults[:MAX_FAULTS],
        "anomalies": stored.anomalies.listed,
        "anomalies_count": stored.anomalies.count,
        "ignored_fields": READING_SCHEMA.ignored(records),
        "warnings": [
            *parsed.notes,
            *distinct.warnings,
            *placeholder_warnings(count_placeholder_records(block)),
            *tags.warnings,
            *stored.warnings,
        ],
    }
    if len(block) == 1 and not unknown:
        result["reading"] = _get_stored(block)
    return result, 201


@dataclass(frozen=True)
class NewReadings:
    """What became of readings.

    Parameters
    ----------
    anomalies : NewAnomalies
        Among those of known sensors.
    adopted : int
        Readings of unknown tags that do not wait, because a sensor got their tag meanwhile.
    warnings : list of str
        Why others of such tags do wait.
    """

    anomalies: NewAnomalies
    adopted: int = 0
    warnings: Sequence[str] = ()


def store_readings(
    block: ReadingBlock, sensors: Mapping[int, Row], detect: bool, unknown: UnknownReadings | None = None
) -> NewReadings:
    """Store the readings of known sensors together with those that wait."""
    selected = [index for index, sensor_id in enumerate(block.sensors.tolist()) if sensor_id in sensors]
    if len(selected) < len(block):
        block = block.select(selected)  # type: ignore[arg-type]
    if not len(block) and unknown is None:
        return NewReadings(NewAnomalies())
    stores, owner = manager().sensors, tenant()

    def let_wait(connection: sa.Connection) -> None:
        if unknown is not None:
            stores.waiting.add_with(connection, owner, unknown)

    if detect:
        found = sensor_service().ingest(sensors, block, MAX_FAULTS, let_wait)
    else:
        found = NewAnomalies()
        with stores.database.write() as connection:
            if len(block):
                stores.readings.ingest_with(connection, owner, block)
            let_wait(connection)
    if unknown is None:
        return NewReadings(found)
    adoption = stores.waiting.adopt_registered(owner, set(unknown.tags))
    return NewReadings(found, sum(tag in adoption.tags for tag in unknown.tags), adoption.warnings)


def _get_stored(block: ReadingBlock) -> Row:
    """Return the row of a single reading."""
    table = manager().sensors.readings
    where = [readings.c.sensor_id == int(block.sensors[0]), readings.c.timestamp == int(block.times[0])]
    query = table.query(tenant(), where).order_by(readings.c.id.desc()).limit(1)
    with table.database.read() as connection:
        row = connection.execute(query).one()
    return row_to_dict(dict(row._mapping))
