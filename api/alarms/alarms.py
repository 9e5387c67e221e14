"""What was raised, and who has taken notice of it."""

from __future__ import annotations

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.fields import TimeBoundField
from api.http.request_body import read_json
from api.http.resource import Query, Resource
from api.http.schemas import OpenSchema, PageQuery, load_document, page, page_schema
from api.sensors.context import row_to_dict, tenant
from api.sensors.crud import build_conditions, json_request_body
from storage.alarms.tables import EVENTS, FAMILY_NAMES, SEVERITY_NAMES, alarms
from storage.db.crud import Row

resource = Resource("alarms", "What a person should know.")


class AlarmView(OpenSchema):
    """An alarm as it was raised."""

    id = fields.Integer(required=True)
    event = fields.String(required=True, validate=validate.OneOf(EVENTS))
    severity = fields.String(required=True, validate=validate.OneOf(SEVERITY_NAMES))
    family = fields.String(required=True)
    subject = fields.String(required=True, metadata={"example": "sensors/12"})
    tag = fields.String(required=True, allow_none=True)
    incident = fields.String(
        required=True, metadata={"description": "The same for all alarms of one episode."}
    )
    message = fields.String(required=True)
    data = fields.Dict(required=True)
    created_at = fields.DateTime(required=True)
    acknowledged_at = fields.DateTime(required=True, allow_none=True)
    acknowledged_by = fields.String(required=True, allow_none=True)


class AlarmQuery(PageQuery):
    """How a list of alarms can be filtered."""

    event = fields.String(validate=validate.OneOf(EVENTS))
    severity = fields.String(validate=validate.OneOf(SEVERITY_NAMES))
    family = fields.String(validate=validate.OneOf(FAMILY_NAMES))
    subject = fields.String(validate=validate.Length(1, 300))
    tag = fields.String(validate=validate.Length(1, 200))
    incident = fields.String(validate=validate.Length(1, 300))
    acknowledged = fields.Boolean(truthy={"true", "1"}, falsy={"false", "0"})
    since = TimeBoundField(metadata={"description": "Earliest time, RFC 3339."})
    until = TimeBoundField(metadata={"description": "Latest time, RFC 3339."})


class AcknowledgeBody(Schema):
    """Who takes notice."""

    by = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 200),
        metadata={"description": "The number of the API key, where it is missing."},
    )


def _to_dict(row: Row) -> Row:
    shown = row_to_dict(row)
    del shown["routed"]
    return shown


@resource.operation("/api/alarms", {200: page_schema(AlarmView)}, query=AlarmQuery)
def list_alarms(query: Query) -> ResponseReturnValue:
    """List alarms, the newest first."""
    names = ("event", "severity", "family", "subject", "tag", "incident")
    where = build_conditions(
        query, equal={name: alarms.c[name] for name in names}, starts=alarms.c.created_at
    )
    if "acknowledged" in query:
        is_open = alarms.c.acknowledged_at.is_(None)
        where = [*where, ~is_open if query["acknowledged"] else is_open]
    rows, cursor = manager().alarms.alarms.page(
        tenant(), where, query["limit"], query.get("cursor", 0), newest_first=True
    )
    return page([_to_dict(row) for row in rows], cursor)


@resource.operation("/api/alarms/<number:alarm_id>", {200: AlarmView})
def get_alarm(alarm_id: int) -> ResponseReturnValue:
    """Return one alarm."""
    return _to_dict(manager().alarms.alarms.get(tenant(), alarm_id))


@resource.operation(
    "/api/alarms/<number:alarm_id>/acknowledge",
    {200: AlarmView},
    method="POST",
    role="train",
    body={**json_request_body(AcknowledgeBody), "required": False},
    idempotent=True,
)
def acknowledge_alarm(alarm_id: int) -> ResponseReturnValue:
    """Record who has taken notice of an alarm; the first one stays."""
    body = load_document(AcknowledgeBody, read_json(absent={}))
    key_id = identity().key_id
    by = body["by"] or (f"API key {key_id}" if key_id else "somebody on this machine")
    return _to_dict(manager().alarms.alarms.acknowledge(tenant(), alarm_id, by))
