"""Failure events: when a device stopped working, and what of it failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, fields, validate

from api.devices.ingest import (
    DeviceQuery,
    IngestQuery,
    IngestResult,
    RemovalQuery,
    RemovalResult,
    body_of,
    build_conditions,
    read_rows,
    removal_result,
    require_conditions,
)
from api.http.fields import InstantField
from api.http.resource import Resource
from api.http.schemas import OpenSchema
from api.sensors.context import database, tenant
from api.sensors.crud import CrudResource
from prediction.rul import records
from storage.db.crud import TenantTable, Where
from storage.devices.failures import Failures
from storage.devices.tables import failure_events, normalise_event_type

resource = Resource("failure-events", "When devices failed.")

_HOURS = {"description": "Hours it had been in operation."}


class EventTypeField(fields.String):
    """A type of event; capitals do not matter where it is one of ours."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return normalise_event_type(super()._deserialize(value, attr, data, **kwargs))


class EventBody(Schema):
    """A failure, or a planned end of a run (maintenance, replacement, inspection)."""

    class Meta:
        unknown = "exclude"

    device_id = fields.String(required=True, validate=validate.Length(1, 200))
    event_time = InstantField(required=True)
    event_type = EventTypeField(load_default="failure", validate=validate.Length(max=100))
    component_failed = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=200))
    operating_hours_at_failure = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(0, records.MAX_OPERATING_HOURS),
        metadata=_HOURS,
    )


class EventView(OpenSchema):
    """An event as it is kept."""

    id = fields.Integer(required=True)
    device_id = fields.String(required=True)
    event_time = fields.DateTime(required=True)
    event_type = fields.String(required=True)
    component_failed = fields.String(required=True, allow_none=True)
    operating_hours_at_failure = fields.Float(required=True, allow_none=True)


class EventsIngestResult(IngestResult):
    """What became of the events, and what they were taken for."""

    understood = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)


class EventQuery(DeviceQuery):
    """How a list of events can be narrowed."""

    event_type = fields.String(validate=validate.Length(1, 100))


def _narrow(rows: TenantTable, query: Mapping[str, Any]) -> Where:
    found: list[sa.ColumnElement[bool]] = _conditions(query)
    if "event_type" in query:
        found.append(failure_events.c.event_type == query["event_type"].replace("\0", ""))
    return found


def _conditions(query: Mapping[str, Any]) -> Any:
    return build_conditions(query, failure_events.c.device_id, failure_events.c.event_time, lambda time: time)


COLLECTION = CrudResource(
    *("failure-events", "failure event", Failures, EventBody, EventView, EventQuery, _narrow), slash=False
)
COLLECTION.serve_reading(resource)
COLLECTION.serve_changing(resource)


@resource.serves(
    "/api/failure-events",
    {201: EventsIngestResult},
    method="POST",
    role="train",
    query=IngestQuery,
    body=body_of(EventBody),
    repeatable=False,
)
def create_failures(query: dict[str, Any]) -> Any:
    """Take one event, an array, NDJSON lines or a CSV text."""
    received = read_rows(records.FAILURE_SCHEMA, records.parse_failures, query["skip_invalid"])
    counts, warnings = records.count_event_types(received.rows)
    told = received.told(Failures(database()).ingest(tenant(), received.rows), warnings)
    return {**told, "understood": counts}, 201


@resource.serves(
    "/api/failure-events",
    {200: RemovalResult},
    method="DELETE",
    role="train",
    query=RemovalQuery,
    repeatable=False,
)
def delete_failures(query: dict[str, Any]) -> dict[str, Any]:
    """Delete the events of a device, of a time, or both."""
    chosen = require_conditions(_conditions(query))
    return removal_result(Failures(database()).remove(tenant(), chosen), "failure events")
