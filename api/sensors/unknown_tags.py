"""Tags that no sensor has: what waits for them, and one call that registers each."""

from __future__ import annotations

from dataclasses import asdict

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.context import manager
from api.http.request_body import read_json
from api.http.resource import Query, Resource
from api.http.schemas import Confirmation, OpenSchema, load_document, page, page_schema
from api.sensors.context import MAX_ID, get_sensor_row, tenant
from api.sensors.crud import json_request_body
from api.sensors.sensors import TagField, get_by_tag
from errors import Conflict

resource = Resource("unknown-tags", "Readings of tags that no sensor has.")


class WaitingTagView(Schema):
    """A tag without a sensor, and what waits for it."""

    tag = fields.String(required=True)
    readings = fields.Integer(required=True)
    first_at = fields.DateTime(required=True)
    last_at = fields.DateTime(required=True)


class WaitingTagQuery(Schema):
    """Query parameters of the list."""

    limit = fields.Integer(load_default=100, validate=validate.Range(1, 1000))
    cursor = fields.String(
        load_default="",
        validate=validate.Length(max=200),
        metadata={"description": "next_cursor of the page before."},
    )


class TagQuery(Schema):
    """Which tag is meant."""

    tag = TagField(required=True)


class RegistrationBody(Schema):
    """The sensor that a tag becomes: a new one, or with ``sensor_id`` one that exists."""

    tag = TagField(required=True)
    sensor_id = fields.Integer(
        load_default=None, allow_none=True, strict=True, validate=validate.Range(1, MAX_ID)
    )
    name = fields.String(load_default=None, allow_none=True, validate=validate.Length(1, 200))
    type = fields.String(load_default="Other", validate=validate.Length(1, 50))
    unit = fields.String(load_default="", validate=validate.Length(0, 50))


class RegistrationView(OpenSchema):
    """What became of a tag."""

    success = fields.Boolean(required=True)
    tag = fields.String(required=True)
    sensor_id = fields.Integer(required=True)
    readings = fields.Integer(required=True, metadata={"description": "Readings that waited, stored now."})
    warnings = fields.List(
        fields.String(), required=True, metadata={"description": "Why readings go on waiting, where they do."}
    )


@resource.operation(
    "/api/unknown-tags", {200: page_schema(WaitingTagView, fields.String)}, query=WaitingTagQuery
)
def list_unknown_tags(query: Query) -> ResponseReturnValue:
    """List the tags that no sensor has and that readings came for, in order."""
    rows = manager().sensors.waiting.list(tenant(), query["limit"] + 1, query["cursor"])
    shown = rows[: query["limit"]]
    return page([asdict(row) for row in shown], shown[-1].tag if len(rows) > len(shown) else None)


@resource.operation(
    "/api/unknown-tags/register",
    {201: RegistrationView},
    method="POST",
    role="train",
    body=json_request_body(RegistrationBody),
    errors=(404, 409),
    idempotent=True,
)
def register_unknown_tag() -> ResponseReturnValue:
    """Give a tag to a new sensor, or to one that exists, and store what waited for it.

    ---
    The readings are not checked for anomalies.
    """
    body = load_document(RegistrationBody, read_json())
    tag, sensors = body["tag"], manager().sensors.sensors
    row = get_by_tag(tag)
    wanted = None if body["sensor_id"] is None else get_sensor_row(body["sensor_id"])
    if row is not None:  # registered meanwhile, or by a call that did not end
        sensor_id = row["id"]
        if wanted is not None and wanted["id"] != sensor_id:
            raise Conflict(f"The tag {tag} belongs to sensor {sensor_id}, not to sensor {wanted['id']}")
    elif wanted is not None:
        sensor_id = wanted["id"]
        if wanted["tag"] is not None:
            raise Conflict(
                f"Sensor {sensor_id} has the tag {wanted['tag']}: change it with PATCH /api/sensors/{sensor_id}"
            )
        sensors.update(tenant(), sensor_id, {"tag": tag})
    else:
        fields_of_sensor = {"name": body["name"] or tag, "type": body["type"], "unit": body["unit"]}
        (sensor_id,) = sensors.create(tenant(), [{**fields_of_sensor, "tag": tag}])
    adoption = manager().sensors.waiting.adopt_registered(tenant(), [tag])
    result = {"success": True, "tag": tag, "sensor_id": sensor_id, "readings": adoption.readings}
    return {**result, "warnings": adoption.warnings}, 201


@resource.operation(
    "/api/unknown-tags", {200: Confirmation}, method="DELETE", role="train", query=TagQuery, errors=(404,)
)
def delete_unknown_tag(query: Query) -> ResponseReturnValue:
    """Delete what waits for a tag."""
    count = manager().sensors.waiting.delete(tenant(), query["tag"])
    return {"success": True, "message": f"{count:,} readings of {query['tag']} have been deleted"}
