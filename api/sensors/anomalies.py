"""Anomalies: episodes that were found or reported, and what people made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, fields, validate

from api.http.fields import InstantField
from api.http.resource import Resource
from api.http.schemas import OpenSchema, StrictBoolean
from api.sensors.context import MAX_ID, tenant
from api.sensors.crud import CrudResource, SensorTimeQuery, change, insert
from prediction.records.fields import MAX_ABS_VALUE
from storage.db.crud import Row, TenantTable, Where
from storage.db.tables import utc_now
from storage.sensors.anomalies import Anomalies
from storage.sensors.tables import ANOMALY_TYPES, SEVERITIES, VERDICTS, anomalies

resource = Resource("anomalies", "What was odd, and what became of it.")

_FINITE = validate.Range(-MAX_ABS_VALUE, MAX_ABS_VALUE)


class AnomalyBody(Schema):
    """An anomaly as a person reports or judges it."""

    class Meta:
        unknown = "exclude"

    sensor_id = fields.Integer(required=True, strict=True, validate=validate.Range(1, MAX_ID))
    type = fields.String(required=True, validate=validate.OneOf(ANOMALY_TYPES))
    severity = fields.String(load_default="Medium", validate=validate.OneOf(SEVERITIES))
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
    """An episode as it is kept."""

    id = fields.Integer(required=True)
    sensor_id = fields.Integer(required=True)
    type = fields.String(required=True)
    severity = fields.String(required=True)
    value = fields.Float(required=True)
    expected = fields.Float(required=True, allow_none=True)
    deviation = fields.Float(required=True, allow_none=True)
    timestamp = fields.DateTime(required=True)
    last_seen = fields.DateTime(required=True)
    readings = fields.Integer(required=True)
    resolved = fields.Boolean(required=True)
    resolved_at = fields.DateTime(required=True, allow_none=True)
    verdict = fields.String(required=True, allow_none=True)


class AnomalyQuery(SensorTimeQuery):
    """How a list of anomalies can be narrowed."""

    type = fields.String(validate=validate.OneOf(ANOMALY_TYPES))
    severity = fields.String(validate=validate.OneOf(SEVERITIES))
    resolved = fields.Boolean(truthy={"true", "1"}, falsy={"false", "0"})


def _narrow(rows: TenantTable, query: Mapping[str, Any]) -> Where:
    equal = ("sensor_id", "type", "severity", "resolved")
    found: list[sa.ColumnElement[bool]] = [anomalies.c[n] == query[n] for n in equal if n in query]
    if "since" in query:
        found.append(anomalies.c.last_seen >= query["since"])
    if "until" in query:
        found.append(anomalies.c.timestamp <= query["until"])
    return found


def _reported(rows: TenantTable, row: Row) -> int:
    ended = utc_now() if row["resolved"] else None
    found = {**row, "last_seen": row["timestamp"], "readings": 1, "resolved_at": ended, "source": "manual"}
    return insert(rows, found)


def _judged(rows: TenantTable, row_id: int, values: Row) -> Row:
    """Change an episode; resolving it and judging it keep their own time."""
    assert isinstance(rows, Anomalies)
    decided: Row = {name: values.pop(name) for name in ("resolved", "verdict") if name in values}
    if "timestamp" in values:
        known = rows.get(tenant(), row_id)
        values["last_seen"] = max(known["last_seen"], values["timestamp"])
    found = change(rows, row_id, values)
    return rows.resolve(tenant(), row_id, decided) if decided else found


COLLECTION = CrudResource(
    "anomalies",
    "anomaly",
    Anomalies,
    AnomalyBody,
    AnomalyView,
    AnomalyQuery,
    _narrow,
    _reported,
    _judged,
)
COLLECTION.serve_reading(resource)
COLLECTION.serve_creating(resource)
COLLECTION.serve_changing(resource)
