"""The health of a device: its remaining useful life by a champion, from the telemetry it has sent."""

from __future__ import annotations

from flask import Response, request
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from api.http.context import identity
from api.http.json_provider import json_response
from api.http.resource import Query, Resource, model_key
from api.http.schemas import OpenSchema
from api.models.predict import VERSION_HEADER, predict_batch
from api.models.suggestions import enumerate_names, list_model_names
from errors import NoChampion
from prediction import registry

resource = Resource("devices", "How long devices have left.")

_COST = validate.Range(0, 1e15, min_inclusive=False, max_inclusive=False)


class HealthQuery(Schema):
    """Which model to ask, and what an hour too late or too early costs."""

    model = fields.String(load_default="default", validate=validate.Length(1, 100))
    coverage = fields.Float(validate=validate.Range(0.5, 0.99))
    late_cost = fields.Float(validate=_COST, metadata={"description": "Cost of an hour too late."})
    early_cost = fields.Float(validate=_COST, metadata={"description": "Cost of an hour too early."})

    @validates_schema
    def check_costs(self, data: Query, **kwargs: object) -> None:
        """Raise ValidationError if only one of the costs is given."""
        if ("late_cost" in data) != ("early_cost" in data):
            raise ValidationError("late_cost and early_cost belong together", "late_cost")


class DeviceHealthView(OpenSchema):
    """The champion's prediction for a device."""

    success = fields.Boolean(required=True)
    device_id = fields.String(required=True)
    model = fields.String(required=True)
    model_version = fields.Integer(required=True)
    rul_hours = fields.Float(required=True)
    interval = fields.Dict(required=True)
    health_status = fields.String(required=True)
    as_of = fields.DateTime(required=True)
    warnings = fields.List(fields.String(), required=True)


@resource.operation(
    "/api/devices/<device_id>/health", {200: DeviceHealthView}, query=HealthQuery, errors=(409, 422)
)
def get_device_health(query: Query, device_id: str) -> Response:
    """Predict the remaining useful life of a device, from its rows since its last failure."""
    family = registry.find_device_family()
    key = model_key(family, query["model"], identity().tenant)
    costs = None
    if "late_cost" in query:
        costs = {"late": query["late_cost"], "early": query["early_cost"]}
    inputs = {"device_id": device_id, "coverage": query.get("coverage"), "costs": costs}
    batch = registry.parse_inputs(family, inputs)
    try:
        result = predict_batch(key, batch, {})
    except NoChampion as error:
        names = list_model_names(key)
        if "model" in request.args or not names:
            raise
        message = (
            f"Say which model is asked, such as ?model={names[0]}: "
            f"there is no {key}, there {enumerate_names(names)}"
        )
        raise NoChampion(message, model=str(key)) from error
    (prediction,) = result.predictions
    response = json_response(
        {
            "success": True,
            "model": str(key),
            "model_version": result.version,
            "warnings": result.batch.warnings,
            **prediction,
        }
    )
    response.headers[VERSION_HEADER] = str(result.version)
    return response
