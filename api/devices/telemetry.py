"""Telemetry: rows of channel values that a device sent, in bulk."""

from __future__ import annotations

from flask.typing import ResponseReturnValue
from marshmallow import ValidationError, fields, validate, validates_schema

from api.devices.asset_anomalies import AssetAnomalyView, asset_anomaly_to_dict
from api.devices.ingest import (
    DeviceQuery,
    IngestQuery,
    IngestResult,
    RemovalQuery,
    RemovalResult,
    read_rows,
    removal_result,
    require_conditions,
    rows_request_body,
)
from api.http.context import load_champion, manager
from api.http.fields import PRINTABLE
from api.http.request_body import check_count
from api.http.resource import Query, Resource
from api.http.schemas import OpenSchema
from api.sensors.context import tenant
from api.sensors.crud import CrudResource, build_conditions
from prediction.equipment.online_detection import EquipmentService, map_devices
from prediction.records.fields import MAX_ABS_VALUE, placeholder_warnings
from prediction.telemetry import records
from prediction.telemetry.long_tables import LONG_SCHEMA, parse_long_table
from prediction.telemetry.repeated_rows import join_repeated
from storage.db.crud import Row, Where
from storage.devices.tables import CHANNELS, sensor_data
from storage.devices.telemetry import merge_channels
from storage.sensors.readings import from_microseconds, to_microseconds

resource = Resource("telemetry", "What devices measured while they ran.")

_MAX_LISTED = 100

# In JSON Schema, because marshmallow cannot say that every other field is a channel, whose value is a number.
_NUMBER = {"type": ["number", "null"], "minimum": -MAX_ABS_VALUE, "maximum": MAX_ABS_VALUE}
_PROPERTIES = {
    "device_id": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": PRINTABLE.regex.pattern},
    "timestamp": {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "Now, where it is missing.",
    },
    **dict.fromkeys(CHANNELS, _NUMBER),
}
_ROW = {
    "type": "object",
    "description": "One row: a device, a time, and a number for every channel it has.",
    "required": ["device_id"],
    "minProperties": 2,
    "maxProperties": records.MAX_CHANNELS,
    "properties": _PROPERTIES,
    "propertyNames": {
        "minLength": 1,
        "maxLength": records.MAX_NAME_LENGTH,
        "pattern": r"[^\s\x00-\x1f\x7f-\x9f]",
    },
    "additionalProperties": _NUMBER,
}
_ROW_OF_SEVERAL = {
    **_ROW,
    "required": ["device_id", "timestamp"],
    "minProperties": 3,
    "properties": {**_PROPERTIES, "timestamp": {"type": "string", "format": "date-time"}},
}


class TelemetryView(OpenSchema):
    """A row as it is stored; its channels stand beside these fields under their names."""

    id = fields.Integer(required=True)
    device_id = fields.String(required=True)
    timestamp = fields.DateTime(required=True)


def telemetry_to_dict(row: Row) -> Row:
    """Return a row with every channel it has."""
    # A channel may have any name; the fields of the row itself win.
    return {
        **merge_channels(row),
        "id": row["id"],
        "device_id": row["device_id"],
        "timestamp": from_microseconds(row["timestamp"]),
    }


class TelemetryIngestQuery(IngestQuery):
    """How telemetry is ingested."""

    channel_column = fields.String(
        validate=validate.Length(1, 200),
        metadata={
            "description": "The column that names the channel, in a table with a line for each value of a channel."
        },
    )
    value_column = fields.String(
        validate=validate.Length(1, 200),
        metadata={"description": "With channel_column: the column of the values, `value` without it."},
    )

    @validates_schema
    def check_columns(self, data: Query, **_: object) -> None:
        """Raise where a column of values has no column of channels."""
        if "value_column" in data and "channel_column" not in data:
            message = (
                "Name the column of the channels, too (channel_column): without it each column is a channel"
            )
            raise ValidationError(message, "value_column")


class TelemetryIngestResult(IngestResult):
    """What became of the rows, and the anomalies among them."""

    repeated = fields.Integer(
        required=True,
        metadata={"description": "Rows with device and time of another one of the body, joined with it."},
    )
    anomaly_count = fields.Integer(required=True)
    anomalies = fields.List(fields.Nested(AssetAnomalyView), required=True)


def _filter(query: Query) -> Where:
    return build_conditions(
        query,
        equal={"device_id": sensor_data.c.device_id},
        starts=sensor_data.c.timestamp,
        convert=to_microseconds,
    )


TELEMETRY = CrudResource(
    path="telemetry",
    noun="telemetry row",
    plural="telemetry",
    table=lambda: manager().devices.telemetry,
    view=TelemetryView,
    query=DeviceQuery,
    filters=_filter,
    to_dict=telemetry_to_dict,
)
TELEMETRY.add_read_routes(resource)
TELEMETRY.add_delete_route(resource)


@resource.operation(
    "/api/telemetry",
    {201: TelemetryIngestResult},
    method="POST",
    role="train",
    query=TelemetryIngestQuery,
    body=rows_request_body(_ROW, _ROW_OF_SEVERAL),
    idempotent=True,
)
def create_telemetry(query: Query) -> ResponseReturnValue:
    """Store one row, an array, NDJSON lines or a CSV text.

    ---
    Every field beside `device_id` and `timestamp` is a channel and must be a number; with `channel_column`, each
    line is one value of a channel, and those of one device and time become one row. A body with a wrong line
    is refused as a whole with each wrong line named, unless `skip_invalid=1`. Rows of assets with a model of the family
    equipment are judged; their anomalies are stored with them and listed, the first hundred of them.
    """
    if "channel_column" in query:
        ingested = read_rows(LONG_SCHEMA, parse_long_table, {"value_column": "value", **query})
        check_count(
            ingested.rows.times or ingested.faults, records.MAX_RECORDS, "rows", ": every value is empty"
        )
    else:
        ingested = read_rows(records.TELEMETRY_SCHEMA, records.parse_telemetry, query)
    joined = join_repeated(ingested.rows)
    warnings = [*joined.warnings, *placeholder_warnings(records.count_placeholder_values(joined.rows))]
    models = map_devices(manager().storage.champions, manager().storage.versions, tenant())
    service = EquipmentService(manager().devices.database, tenant(), models, load_champion)
    stored = service.ingest(joined.rows, _MAX_LISTED)
    return {
        **ingested.to_result(stored.accepted, [*warnings, *stored.warnings]),
        "repeated": joined.repeated,
        "anomaly_count": stored.anomaly_count,
        "anomalies": [asset_anomaly_to_dict(row) for row in stored.anomalies],
    }, 201


@resource.operation(
    "/api/telemetry",
    {200: RemovalResult},
    method="DELETE",
    role="train",
    query=RemovalQuery,
    idempotent=True,
)
def delete_telemetry(query: Query) -> ResponseReturnValue:
    """Delete the rows of a device, of a period, or both."""
    conditions = require_conditions(_filter(query))
    return removal_result(manager().devices.telemetry.remove(tenant(), conditions), "rows of telemetry")
