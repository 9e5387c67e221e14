"""Telemetry: rows of channel values a device sent, in bulk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields

from api.devices.ingest import (
    DeviceQuery,
    IngestQuery,
    IngestResult,
    RemovalQuery,
    RemovalResult,
    body_of,
    build_conditions,
    read_rows,
    removal_result,
    require_conditions,
)
from api.http.resource import Resource
from api.http.schemas import OpenSchema
from api.sensors.context import database, tenant
from api.sensors.crud import CrudResource
from prediction.records.fields import MAX_ABS_VALUE, placeholder_warnings
from prediction.rul import records
from storage.db.crud import Row, TenantTable, Where
from storage.devices.tables import CHANNELS, sensor_data
from storage.devices.telemetry import Telemetry, merge_channels
from storage.sensors.readings import from_microseconds, to_microseconds

resource = Resource("telemetry", "What devices measured while they ran.")


_NUMBER = {"type": ["number", "null"], "minimum": -MAX_ABS_VALUE, "maximum": MAX_ABS_VALUE}
ROW = {
    "type": "object",
    "description": "One row: a device, a time, and a number for every channel it has.",
    "required": ["device_id"],
    "minProperties": 2,
    "maxProperties": records.MAX_CHANNELS,
    "properties": {
        "device_id": {"type": "string", "minLength": 1, "maxLength": 200},
        "timestamp": {"type": ["string", "null"], "format": "date-time", "description": "Now, if unsaid."},
        **dict.fromkeys(CHANNELS, _NUMBER),
    },
    "propertyNames": {"minLength": 1, "maxLength": records.MAX_NAME_LENGTH},
    "additionalProperties": _NUMBER,
}
"""What marshmallow cannot say: every other field is a channel, whose value is a number."""
_WHEN = {"timestamp": {"type": "string", "format": "date-time"}}
DATED = {
    **ROW,
    "required": ["device_id", "timestamp"],
    "minProperties": 3,
    "properties": {**ROW["properties"], **_WHEN},  # type: ignore[dict-item]
}
"""One of several rows."""


class TelemetryView(OpenSchema):
    """A row as it is kept; further channels stand beside these under their names."""

    id = fields.Integer(required=True)
    device_id = fields.String(required=True)
    timestamp = fields.DateTime(required=True)


def shown(row: Row) -> Row:
    """A row with every channel it has."""
    told = {"id": row["id"], "device_id": row["device_id"], "timestamp": from_microseconds(row["timestamp"])}
    return {**merge_channels(row), **told}


def _conditions(query: Mapping[str, Any]) -> Any:
    return build_conditions(query, sensor_data.c.device_id, sensor_data.c.timestamp, to_microseconds)


def _narrow(rows: TenantTable, query: Mapping[str, Any]) -> Where:
    found: Where = _conditions(query)
    return found


COLLECTION = CrudResource(
    *("telemetry", "row of telemetry", Telemetry, Schema, TelemetryView, DeviceQuery, _narrow),
    shown=shown,
    slash=False,
)
COLLECTION.serve_reading(resource)
COLLECTION.serve_deleting(resource)


@resource.serves(
    "/api/telemetry",
    {201: IngestResult},
    method="POST",
    role="train",
    query=IngestQuery,
    body=body_of(ROW, DATED),
    repeatable=False,
)
def create_telemetry(query: dict[str, Any]) -> Any:
    """Take one row, an array, NDJSON lines or a CSV text.

    ---
    Every field beside `device_id` and `timestamp` is a channel and must be a number. A body with a wrong line
    is refused whole with each wrong line named, unless `skip_invalid=1`.
    """
    received = read_rows(records.TELEMETRY_SCHEMA, records.parse_telemetry, query["skip_invalid"])
    warnings = placeholder_warnings(records.count_placeholder_values(received.rows))
    return received.told(Telemetry(database()).ingest(tenant(), received.rows), warnings), 201


@resource.serves(
    "/api/telemetry",
    {200: RemovalResult},
    method="DELETE",
    role="train",
    query=RemovalQuery,
    repeatable=False,
)
def delete_telemetry(query: dict[str, Any]) -> dict[str, Any]:
    """Delete the rows of a device, of a time, or both."""
    chosen = require_conditions(_conditions(query))
    return removal_result(Telemetry(database()).remove(tenant(), chosen), "rows of telemetry")
