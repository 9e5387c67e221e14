"""Anomalies: episodes that were detected or reported, and what people decided about them."""

from __future__ import annotations

from marshmallow import fields, validate

from api.http.context import manager
from api.http.fields import InstantField, StrictBoolean
from api.http.resource import Query, Resource
from api.http.schemas import OpenSchema
from api.sensors.context import MAX_ID, SensorSchema, row_to_dict
from api.sensors.crud import (
    CrudResource,
    SensorTimeQuery,
    build_conditions,
    insert_for_sensor,
)
from prediction.records.fields import MAX_ABS_VALUE
from storage.alarms.episode_table import RELEASING_VERDICTS, VERDICTS
from storage.alarms.tables import SEVERITY_NAMES
from storage.db.crud import Row, TenantTable, Where
from storage.db.tables import utc_now
from storage.sensors.tables import ANOMALY_TYPES, anomalies

resource = Resource("anomalies", "What was odd, and what became of it.")

_FINITE = validate.Range(-MAX_ABS_VALUE, MAX_ABS_VALUE)


class AnomalyBody(SensorSchema):
    """An anomaly as a person reports or judges it."""

    sensor_id = fields.Integer(required=True, strict=True, validate=validate.Range(1, MAX_ID))
    type = fields.String(required=True, validate=validate.OneOf(ANOMALY_TYPES))
    severity = fields.String(load_default="Medium", validate=validate.OneOf(SEVERITY_NAMES))
    value = fields.Float(required=True, validate=_FINITE)
    expected = fields.Float(load_default=None, allow_none=True, validate=_FINITE)
    deviation = fields.Float(load_default=None, allow_none=True, validate=_FINITE)
    timestamp = InstantField(load_default=utc_now)
    resolved = StrictBoolean(load_default=False)
    verdict = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf(VERDICTS),
        metadata={"description": "false_alarm and new_normal let models learn from it; null takes it back."},
    )


class AnomalyView(OpenSchema):
    """An episode as it is stored."""

    id = fields.Integer(required=True)
    sensor_id = fields.Integer(required=True)
    type = fields.String(required=True)
    severity = fields.String(required=True)
    value = fields.Float(required=True)
    expected = fields.Float(required=True, allow_none=True)
    deviation = fields.Float(required=True, allow_none=True)
    timestamp = fields.DateTime(required=True)
    last_seen_at = fields.DateTime(required=True)
    readings = fields.Integer(required=True)
    resolved = fields.Boolean(required=True)
    resolved_at = fields.DateTime(required=True, allow_none=True)
    verdict = fields.String(required=True, allow_none=True)


class AnomalyQuery(SensorTimeQuery):
    """How a list of anomalies can be filtered."""

    type = fields.String(validate=validate.OneOf(ANOMALY_TYPES))
    severity = fields.String(validate=validate.OneOf(SEVERITY_NAMES))
    resolved = fields.Boolean(truthy={"true", "1"}, falsy={"false", "0"})


def _filter(query: Query) -> Where:
    columns = {name: anomalies.c[name] for name in ("sensor_id", "type", "severity", "resolved")}
    return build_conditions(query, equal=columns, starts=anomalies.c.timestamp, ends=anomalies.c.last_seen)


def _insert_reported(table: TenantTable, row: Row) -> int:
    resolved = row["resolved"] or row["verdict"] in RELEASING_VERDICTS
    closed = {"resolved": resolved, "resolved_at": utc_now() if resolved else None}
    episode = {"last_seen": row["timestamp"], "readings": 1, "source": "manual"}
    return insert_for_sensor(table, {**row, **closed, **episode})


def anomaly_to_dict(row: Row) -> Row:
    """Return an episode as the API shows it."""
    shown = row_to_dict(row)
    shown["last_seen_at"] = shown.pop("last_seen")
    return shown


ANOMALIES = CrudResource(
    path="anomalies/",
    noun="anomaly",
    plural="anomalies",
    table=lambda: manager().sensors.anomalies,
    view=AnomalyView,
    query=AnomalyQuery,
    filters=_filter,
    body=AnomalyBody,
    create=_insert_reported,
    to_dict=anomaly_to_dict,
)
ANOMALIES.add_read_routes(resource)
ANOMALIES.add_create_route(resource)
ANOMALIES.add_change_routes(resource)
