"""Readings: one, many, NDJSON or CSV in; checked for anomalies on arrival."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, fields, validate

from api.http.request_body import CSV, NDJSON, read_records
from api.http.resource import Resource
from api.http.schemas import OpenSchema, QueryFlag
from api.sensors.context import MAX_ID, database, sensor_monitor, shown, tenant
from api.sensors.crud import CrudResource, SensorTimeQuery, page_by_id
from errors import InvalidRecords
from prediction.records.fields import MAX_ABS_VALUE, placeholder_warnings
from prediction.sensors.readings.reading_records import (
    MAX_READINGS,
    READING_SCHEMA,
    count_placeholder_records,
    find_unknown_sensors,
    parse_readings,
)
from prediction.sensors.serving.new_anomalies import NewAnomalies
from storage.db.crud import Row, TenantTable, Where
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings, to_microseconds
from storage.sensors.sensors import Sensors
from storage.sensors.tables import readings

resource = Resource("readings", "What sensors said.")

MAX_FAULTS = 1_000


class ReadingBody(Schema):
    """One reading."""

    class Meta:
        unknown = "include"

    sensor_id = fields.Integer(required=True, validate=validate.Range(1, MAX_ID))
    raw_value = fields.Float(required=True, validate=validate.Range(-MAX_ABS_VALUE, MAX_ABS_VALUE))
    timestamp = fields.DateTime(allow_none=True, metadata={"description": "Now, where it is missing."})


class DatedReading(ReadingBody):
    """One of several readings."""

    timestamp = fields.DateTime(required=True)


class ReadingChange(Schema):
    """What can be mended in a reading."""

    class Meta:
        unknown = "exclude"

    raw_value = fields.Float(required=True, validate=validate.Range(-MAX_ABS_VALUE, MAX_ABS_VALUE))


class ReadingView(OpenSchema):
    """A reading as it is kept."""

    id = fields.Integer(required=True)
    sensor_id = fields.Integer(required=True)
    raw_value = fields.Float(required=True)
    timestamp = fields.DateTime(required=True)


class ReadingsIngestQuery(Schema):
    """How readings are taken."""

    detect = fields.String(
        load_default="true",
        validate=validate.OneOf(("true", "false", "1", "0")),
        metadata={"description": "false: do not look for anomalies."},
    )
    skip_invalid = QueryFlag("Store the valid lines of a file and answer the invalid ones.")


class ReadingsIngestResult(OpenSchema):
    """What became of the readings."""

    success = fields.Boolean(required=True)
    accepted = fields.Integer(required=True)
    rejected = fields.List(fields.Dict(), required=True)
    anomalies = fields.List(
        fields.Dict(), required=True, metadata={"description": f"{MAX_FAULTS:,} at most are told."}
    )
    anomalies_count = fields.Integer(required=True)
    ignored_fields = fields.List(fields.String(), required=True)
    warnings = fields.List(fields.String(), required=True)


def _narrow(rows: TenantTable, query: Mapping[str, Any]) -> Where:
    found: list[sa.ColumnElement[bool]] = []
    if "since" in query:
        found.append(readings.c.timestamp >= to_microseconds(query["since"]))
    if "until" in query:
        found.append(readings.c.timestamp <= to_microseconds(query["until"]))
    return found


def _page(rows: TenantTable, where: Where, query: Mapping[str, Any]) -> tuple[list[Row], int | None]:
    """One sensor's readings in order of time, all sensors' in order of arrival."""
    assert isinstance(rows, Readings)
    if "sensor_id" not in query:
        return page_by_id(rows, where, query)
    return rows.page_by_time(tenant(), query["sensor_id"], where, query["limit"], query["cursor"])


COLLECTION = CrudResource(
    "readings", "reading", Readings, ReadingChange, ReadingView, SensorTimeQuery, _narrow, turn=_page
)
COLLECTION.serve_reading(resource)
COLLECTION.serve_changing(resource)

_MANY = {"type": "array", "items": DatedReading, "minItems": 1, "maxItems": MAX_READINGS}
BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"anyOf": [ReadingBody, _MANY]}},
        NDJSON: {"schema": {"type": "string"}},
        CSV: {"schema": {"type": "string"}},
    },
}


@resource.serves(
    "/api/readings/",
    {201: ReadingsIngestResult},
    method="POST",
    role="train",
    query=ReadingsIngestQuery,
    body=BODY,
    repeatable=False,
)
def create_readings(query: dict[str, Any]) -> Any:
    """Take one reading, an array, NDJSON lines or a CSV text.

    ---
    A body with a wrong line is refused whole with each wrong line named, unless `skip_invalid=1`.
    """
    sent = read_records()
    count = len(sent.records)
    if not 1 <= count <= MAX_READINGS:
        raise InvalidRecords([_count_fault(count)])
    block, lines, faults = parse_readings(sent.records, sent.is_single)
    known = Sensors(database()).get_many(tenant(), set(block.sensors.tolist()))
    strangers = find_unknown_sensors(block, lines, known)
    faults = sorted([*faults, *strangers], key=lambda fault: fault["record"] or 0)
    if faults and not query["skip_invalid"]:
        raise InvalidRecords(faults[:MAX_FAULTS], wrong=len(faults))
    odd = _taken(block, known, query["detect"] in ("true", "1"))
    answer = {"success": True, "accepted": len(block) - len(strangers), "rejected": faults[:MAX_FAULTS]}
    told = {"anomalies": odd.listed, "anomalies_count": odd.count}
    told |= {
        "ignored_fields": READING_SCHEMA.ignored(sent.records),
        "warnings": placeholder_warnings(count_placeholder_records(block)),
    }
    return {**answer, **told, **_single(block, strangers)}, 201


def _taken(block: ReadingBlock, known: dict[int, Row], detect: bool) -> NewAnomalies:
    """Store the readings of known sensors; what is odd about them."""
    mine = [at for at, sensor in enumerate(block.sensors.tolist()) if sensor in known]
    block = block.select(mine) if len(mine) < len(block) else block  # type: ignore[arg-type]
    if detect:
        return sensor_monitor().ingest(known, block, MAX_FAULTS)
    Readings(database()).ingest(tenant(), block)
    return NewAnomalies()


def _single(block: ReadingBlock, strangers: list[Any]) -> dict[str, Any]:
    """A single reading is answered with its row."""
    if len(block) != 1 or strangers:
        return {}
    where = [readings.c.sensor_id == int(block.sensors[0]), readings.c.timestamp == int(block.times[0])]
    query = Readings(database()).query(tenant(), where).order_by(readings.c.id.desc()).limit(1)
    with database().read() as connection:
        row = connection.execute(query).one()
    return {"reading": shown(dict(row._mapping))}


def _count_fault(count: int) -> dict[str, Any]:
    said = f"Expected 1 to {MAX_READINGS:,} readings, got {count:,}"
    return {"record": None, "field": None, "code": "count", "value": count, "message": said}
