"""Failure events: when a device stopped working, and which part of it failed."""

from __future__ import annotations

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.devices.ingest import (
    DeviceQuery,
    IngestQuery,
    IngestResult,
    RemovalQuery,
    RemovalResult,
    read_rows,
    removal_result,
    require_conditions,
    rows_request_body,
)
from api.http.context import manager
from api.http.fields import PRINTABLE, InstantField
from api.http.resource import Query, Resource
from api.http.schemas import OpenSchema
from api.sensors.context import tenant
from api.sensors.crud import CrudResource, build_conditions
from prediction.telemetry import records
from storage.db.crud import Where
from storage.devices.tables import failure_events, normalise_event_type

resource = Resource("failure-events", "When devices failed.")


class EventTypeField(fields.String):
    """A type of event; capitals do not matter in the types that models know."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> str:
        return normalise_event_type(super()._deserialize(value, attr, data, **kwargs))


class EventBody(Schema):
    """A failure, or a planned end of a run (maintenance, replacement, inspection)."""

    device_id = fields.String(required=True, validate=[validate.Length(1, 200), PRINTABLE])
    event_time = InstantField(required=True)
    event_type = EventTypeField(load_default="failure", validate=validate.Length(max=100))
    component_failed = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=200))
    operating_hours_at_failure = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(0, records.MAX_OPERATING_HOURS),
        metadata={"description": "Hours it had been in operation."},
    )


class EventInput(EventBody):
    """One event in bulk: fields that are not read are listed in the response."""

    class Meta:
        unknown = "include"


class EventView(OpenSchema):
    """An event as it is stored."""

    id = fields.Integer(required=True)
    device_id = fields.String(required=True)
    event_time = fields.DateTime(required=True)
    event_type = fields.String(required=True)
    component_failed = fields.String(required=True, allow_none=True)
    operating_hours_at_failure = fields.Float(required=True, allow_none=True)


class EventsIngestResult(IngestResult):
    """What became of the events, and how many of each type they are."""

    event_counts = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)


class EventQuery(DeviceQuery):
    """How a list of events can be filtered."""

    event_type = fields.String(validate=validate.Length(1, 100))


def _filter(query: Query) -> Where:
    columns = {"device_id": failure_events.c.device_id, "event_type": failure_events.c.event_type}
    return build_conditions(query, equal=columns, starts=failure_events.c.event_time)


FAILURES = CrudResource(
    path="failure-events",
    noun="failure event",
    plural="failure events",
    table=lambda: manager().devices.failures,
    view=EventView,
    query=EventQuery,
    filters=_filter,
    body=EventBody,
)
FAILURES.add_read_routes(resource)
FAILURES.add_change_routes(resource)


@resource.operation(
    "/api/failure-events",
    {201: EventsIngestResult},
    method="POST",
    role="train",
    query=IngestQuery,
    body=rows_request_body(EventInput),
    idempotent=True,
)
def create_failures(query: Query) -> ResponseReturnValue:
    """Store one event, an array, NDJSON lines or a CSV text."""
    ingested = read_rows(records.FAILURE_SCHEMA, records.parse_failures, query)
    counts, warnings = records.count_event_types(ingested.rows)
    accepted = manager().devices.failures.ingest(tenant(), ingested.rows)
    return {**ingested.to_result(accepted, warnings), "event_counts": counts}, 201


@resource.operation(
    "/api/failure-events",
    {200: RemovalResult},
    method="DELETE",
    role="train",
    query=RemovalQuery,
    idempotent=True,
)
def delete_failures(query: Query) -> ResponseReturnValue:
    """Delete the events of a device, of a period, or both."""
    conditions = require_conditions(_filter(query))
    return removal_result(manager().devices.failures.remove(tenant(), conditions), "failure events")
