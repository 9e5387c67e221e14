"""What became of alarms along their routes; dead ones can be sent again."""

from __future__ import annotations

from flask.typing import ResponseReturnValue
from marshmallow import fields, validate

from api.http.context import manager
from api.http.resource import Query, Resource
from api.http.schemas import OpenSchema, PageQuery, page, page_schema
from api.sensors.context import row_to_dict, tenant
from api.sensors.crud import build_conditions
from storage.alarms.tables import DELIVERY_STATES, alarm_deliveries

resource = Resource("alarm-deliveries", "What became of alarms along their routes.")


class DeliveryView(OpenSchema):
    """One alarm on its way along one route, or at its end."""

    id = fields.Integer(required=True)
    alarm_id = fields.Integer(required=True)
    route_id = fields.Integer(required=True)
    subject = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(DELIVERY_STATES))
    attempts = fields.Integer(required=True)
    due_at = fields.DateTime(required=True, metadata={"description": "Not tried before."})
    created_at = fields.DateTime(required=True)
    delivered_at = fields.DateTime(required=True, allow_none=True)
    last_error = fields.String(required=True, allow_none=True)


class DeliveryQuery(PageQuery):
    """How a list of deliveries can be filtered."""

    state = fields.String(
        validate=validate.OneOf(DELIVERY_STATES),
        metadata={"description": "`dead`: given up, and never tried again by itself."},
    )
    route_id = fields.Integer(validate=validate.Range(1, 2**31 - 1))
    alarm_id = fields.Integer(validate=validate.Range(1, 2**53))


@resource.operation(
    "/api/alarm-deliveries", {200: page_schema(DeliveryView)}, role="admin", query=DeliveryQuery
)
def list_alarm_deliveries(query: Query) -> ResponseReturnValue:
    """List deliveries, the newest first."""
    columns = {name: alarm_deliveries.c[name] for name in ("state", "route_id", "alarm_id")}
    where = build_conditions(query, equal=columns, starts=alarm_deliveries.c.created_at)
    rows, cursor = manager().alarms.deliveries.page(
        tenant(), where, query["limit"], query.get("cursor", 0), newest_first=True
    )
    return page([row_to_dict(row) for row in rows], cursor)


@resource.operation(
    "/api/alarm-deliveries/<number:delivery_id>/resend",
    {200: DeliveryView},
    method="POST",
    role="admin",
    idempotent=True,
)
def resend_alarm_delivery(delivery_id: int) -> ResponseReturnValue:
    """Try a dead delivery again."""
    return row_to_dict(manager().alarms.deliveries.resend(tenant(), delivery_id))
