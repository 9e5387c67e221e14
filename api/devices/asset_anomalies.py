"""Anomalies of assets: episodes that their models found in telemetry, and what people decided about them."""

from __future__ import annotations

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.devices.ingest import DeviceQuery
from api.http.context import manager
from api.http.fields import StrictBoolean
from api.http.request_body import read_json
from api.http.resource import Query, Resource
from api.http.schemas import OpenSchema, load_document
from api.sensors.context import row_to_dict, tenant
from api.sensors.crud import CrudResource, build_conditions, json_request_body
from storage.alarms.episode_table import VERDICTS
from storage.alarms.tables import SEVERITY_NAMES
from storage.db.crud import Row, Where
from storage.devices.tables import asset_anomalies

resource = Resource("asset-anomalies", "What was odd about an asset, and because of which channels.")


class ContributionView(Schema):
    """A channel and its share of what raised the score."""

    channel = fields.String(required=True)
    share = fields.Float(required=True)


class AssetAnomalyView(OpenSchema):
    """An episode as it is stored."""

    id = fields.Integer(required=True)
    device_id = fields.String(required=True)
    model = fields.String(required=True)
    version = fields.Integer(required=True)
    severity = fields.String(required=True)
    timestamp = fields.DateTime(required=True)
    last_seen_at = fields.DateTime(required=True)
    alarms = fields.Integer(required=True)
    max_score = fields.Float(required=True)
    min_health = fields.Float(required=True)
    condition = fields.Integer(required=True)
    contributions = fields.List(fields.Nested(ContributionView), required=True)
    resolved = fields.Boolean(required=True)
    resolved_at = fields.DateTime(required=True, allow_none=True)
    verdict = fields.String(required=True, allow_none=True)


class AssetAnomalyDecision(Schema):
    """What a person decides about an episode."""

    resolved = StrictBoolean()
    verdict = fields.String(
        allow_none=True,
        validate=validate.OneOf(VERDICTS),
        metadata={"description": "false_alarm and new_normal let models learn from it; null takes it back."},
    )


class AssetAnomalyQuery(DeviceQuery):
    """How a list of episodes can be filtered."""

    model = fields.String(validate=validate.Length(1, 100))
    severity = fields.String(validate=validate.OneOf(SEVERITY_NAMES))
    resolved = fields.Boolean(truthy={"true", "1"}, falsy={"false", "0"})


def _filter(query: Query) -> Where:
    columns = {name: asset_anomalies.c[name] for name in ("device_id", "model", "severity", "resolved")}
    return build_conditions(
        query, equal=columns, starts=asset_anomalies.c.timestamp, ends=asset_anomalies.c.last_seen
    )


def asset_anomaly_to_dict(row: Row) -> Row:
    """Return an episode as the API shows it."""
    shown = row_to_dict(row)
    shown["last_seen_at"] = shown.pop("last_seen")
    return shown


ASSET_ANOMALIES = CrudResource(
    path="asset-anomalies",
    noun="anomaly of an asset",
    plural="anomalies of assets",
    table=lambda: manager().devices.anomalies,
    view=AssetAnomalyView,
    query=AssetAnomalyQuery,
    filters=_filter,
    to_dict=asset_anomaly_to_dict,
)
ASSET_ANOMALIES.add_read_routes(resource)
ASSET_ANOMALIES.add_delete_route(resource)


@resource.operation(
    "/api/asset-anomalies/<number:row_id>",
    {200: AssetAnomalyView},
    method="PATCH",
    role="train",
    body=json_request_body(AssetAnomalyDecision),
    idempotent=True,
)
def decide_asset_anomaly(row_id: int) -> ResponseReturnValue:
    """Resolve one anomaly of an asset, or say what it was."""
    decision = load_document(AssetAnomalyDecision(), read_json())
    return asset_anomaly_to_dict(manager().devices.anomalies.update(tenant(), row_id, decision))
