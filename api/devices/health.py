"""How a device is: its remaining useful life by a champion, from the telemetry it has sent."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from marshmallow import Schema, fields, validate, validates_schema
from marshmallow import ValidationError as Wrong

from api.http.context import identity
from api.http.json_provider import json_response
from api.http.resource import Resource, key_of
from api.http.schemas import OpenSchema
from api.models.predict import VERSION_HEADER, predict_batch
from api.models.suggestions import enumerate_names, list_model_names
from errors import NoChampion
from prediction import registry

resource = Resource("devices", "How long devices have left.")

_COST = validate.Range(0, 1e15, min_inclusive=False, max_inclusive=False)


class HealthQuery(Schema):
    """Who is asked, and what an hour too late or too early costs."""

    model = fields.String(load_default="default", validate=validate.Length(1, 100))
    coverage = fields.Float(validate=validate.Range(0.5, 0.99))
    late = fields.Float(validate=_COST, metadata={"description": "Cost of an hour too late."})
    early = fields.Float(validate=_COST, metadata={"description": "Cost of an hour too early."})

    @validates_schema
    def both_costs(self, data: dict[str, Any], **kwargs: Any) -> None:
        """One cost alone says nothing."""
        if ("late" in data) != ("early" in data):
            raise Wrong("late and early belong together", "late")


class DeviceHealth(OpenSchema):
    """What the champion says of a device."""

    success = fields.Boolean(required=True)
    device_id = fields.String(required=True)
    model = fields.String(required=True)
    model_version = fields.Integer(required=True)
    rul_hours = fields.Float(required=True)
    interval = fields.Dict(required=True)
    health_status = fields.String(required=True)
    as_of = fields.DateTime(required=True)
    warnings = fields.List(fields.String(), required=True)


@resource.serves("/api/devices/<device_id>/health", {200: DeviceHealth}, query=HealthQuery, errors=(409, 422))
def get_device_health(query: dict[str, Any], device_id: str) -> Response:
    """Remaining useful life of a device, from its rows since its last failure."""
    key = key_of("rul", query["model"], identity().tenant)
    costs = {name: query[name] for name in ("late", "early")} if "late" in query else None
    wanted = {"device_id": device_id, "coverage": query.get("coverage"), "costs": costs}
    batch = registry.create_parser("rul").parse_inputs(wanted)
    try:
        batch, live, (answer,) = predict_batch(key, batch, {})
    except NoChampion as error:
        if "model" in request.args or not (names := list_model_names(key)):
            raise
        said = f"Say which model is asked, such as ?model={names[0]}: there is no {key}, there {enumerate_names(names)}"
        raise NoChampion(said, model=str(key)) from error
    told = {"success": True, "model": str(key), "model_version": live.number, "warnings": batch.warnings}
    response = json_response({**told, **answer})
    response.headers[VERSION_HEADER] = str(live.number)
    return response
