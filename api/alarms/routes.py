"""Alarm routes: where the alarms of a tenant are sent. No answer holds an address in full, or a secret."""

from __future__ import annotations

from typing import Any

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.context import manager
from api.http.fields import PRINTABLE, StrictBoolean
from api.http.resource import Resource
from api.http.schemas import Confirmation, OpenSchema, PageQuery
from api.sensors.context import tenant
from api.sensors.crud import CrudResource
from notifications import hide_address
from storage.alarms.tables import EVENTS, FAMILY_NAMES, ROUTE_KINDS, SEVERITY_NAMES
from storage.db.crud import Row

resource = Resource("alarm-routes", "Where alarms are sent.")

_MAX_GROUP_SECONDS = 3_600
_CLOCK = validate.Regexp(r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)", error="write it like 22:00")


class QuietHours(Schema):
    """When all but critical alarms are held back."""

    start = fields.String(required=True, validate=_CLOCK, metadata={"example": "22:00"})
    end = fields.String(required=True, validate=_CLOCK, metadata={"example": "06:00"})
    timezone = fields.String(
        load_default="UTC", validate=validate.Length(1, 64), metadata={"example": "Europe/Paris"}
    )


class WholeNested(fields.Nested):
    """A document in a document, which a PATCH replaces as a whole: no field of it may be missing."""

    def _deserialize(self, *given: Any, **options: Any) -> Any:
        return super()._deserialize(*given, **{**options, "partial": False})


def _text(description: str, longest: int) -> fields.String:
    length = validate.Length(1, longest)
    return fields.String(
        load_default=None, allow_none=True, validate=length, metadata={"description": description}
    )


def _names(description: str, known: tuple[str, ...] | None = None) -> fields.List[str]:
    each = fields.String(validate=validate.OneOf(known) if known else validate.Length(1, 300))
    length = validate.Length(max=100)
    return fields.List(each, load_default=list, validate=length, metadata={"description": description})


class AlarmRouteBody(Schema):
    """A route as it is registered or changed."""

    name = fields.String(required=True, validate=[validate.Length(1, 200), PRINTABLE])
    kind = fields.String(required=True, validate=validate.OneOf(ROUTE_KINDS))
    url = _text(
        "https://… of a webhook, mqtts://host of a broker, or what apprise reads; kept where it is missing.",
        2_000,
    )
    secret = _text("Signs a webhook; the password at a broker. Kept where it is missing.", 1_000)
    username = _text("The user at a broker.", 200)
    topic = _text("The topic at a broker.", 300)
    events = _names("Only these; all, where it is empty.", EVENTS)
    families = _names("Only those of these families; all, where it is empty.", FAMILY_NAMES)
    subjects = _names("Only those whose subject or tag is like one of these, such as sensors/* or TI-*.")
    min_severity = fields.String(load_default="Low", validate=validate.OneOf(SEVERITY_NAMES))
    group_seconds = fields.Integer(
        load_default=0,
        strict=True,
        validate=validate.Range(0, _MAX_GROUP_SECONDS),
        metadata={"description": "For so long an alarm waits for others that share its message."},
    )
    quiet_hours = WholeNested(QuietHours, load_default=None, allow_none=True)
    enabled = StrictBoolean(
        load_default=True, metadata={"description": "Otherwise it takes and sends nothing."}
    )


class AlarmRouteView(OpenSchema):
    """A route, and how it is doing."""

    id = fields.Integer(required=True)
    name = fields.String(required=True)
    kind = fields.String(required=True)
    address = fields.String(required=True, metadata={"example": "https://alarms.example.com/…"})
    has_secret = fields.Boolean(required=True)
    topic = fields.String(required=True, allow_none=True)
    events = fields.List(fields.String(), required=True)
    families = fields.List(fields.String(), required=True)
    subjects = fields.List(fields.String(), required=True)
    min_severity = fields.String(required=True)
    group_seconds = fields.Integer(required=True)
    quiet_hours = fields.Dict(required=True, allow_none=True)
    enabled = fields.Boolean(required=True)
    failures = fields.Integer(required=True, metadata={"description": "Messages in a row that failed."})
    retry_at = fields.DateTime(required=True, allow_none=True)
    last_error = fields.String(required=True, allow_none=True)
    last_success_at = fields.DateTime(required=True, allow_none=True)
    created_at = fields.DateTime(required=True)


def route_to_dict(row: Row) -> Row:
    """Return a route as the API shows it."""
    hidden = {"tenant", "url", "secret", "username"}
    shown = {name: value for name, value in row.items() if name not in hidden}
    return {
        **shown,
        "address": hide_address(row["kind"], row["url"]),
        "has_secret": row["secret"] is not None,
    }


ROUTES = CrudResource(
    path="alarm-routes",
    noun="alarm route",
    plural="alarm routes",
    table=lambda: manager().alarms.routes,
    view=AlarmRouteView,
    query=PageQuery,
    filters=lambda query: [],
    body=AlarmRouteBody,
    create=lambda table, row: manager().alarms.create_route(tenant(), row),
    change=lambda table, row_id, values: manager().alarms.change_route(tenant(), row_id, values),
    paginate=lambda table, where, query: table.page(tenant(), where, query["limit"], query.get("cursor", 0)),
    to_dict=route_to_dict,
    read_role="admin",
    change_role="admin",
)
ROUTES.add_read_routes(resource)
ROUTES.add_create_route(resource)
ROUTES.add_change_routes(resource)


@resource.operation(
    "/api/alarm-routes/<number:row_id>/test",
    {200: Confirmation},
    method="POST",
    role="admin",
    errors=(502,),
    idempotent=True,
)
def test_alarm_route(row_id: int) -> ResponseReturnValue:
    """Send a test along a route at once, past its filters and quiet hours."""
    manager().alarms.test_route(tenant(), row_id)
    return {"success": True, "message": "The test has arrived"}
