"""What the routes for rows of devices share: ingestion in bulk, list filters, removal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from marshmallow import Schema, fields, validate

from api.http.fields import QueryFlag, TimeBoundField
from api.http.request_body import BINARY_TABLE_TYPES, CSV_TYPE, NDJSON_TYPE, check_count, read_records
from api.http.resource import Document, Query
from api.http.schemas import Confirmation, OpenSchema, TableQuery
from api.sensors.context import tenant
from api.sensors.crud import TimeQuery
from errors import InvalidContent, InvalidRecords
from prediction.records.columns import ColumnNames
from prediction.records.fields import RecordFault
from prediction.records.parsing import NumberedRecord
from prediction.records.schema import RecordSchema
from prediction.telemetry.records import MAX_RECORDS
from storage.db.crud import Where

RowsT = TypeVar("RowsT")
Parser = Callable[[Sequence[NumberedRecord], str, bool], tuple[RowsT, list[RecordFault]]]

# A response names so many faults one by one, and counts all.
MAX_FAULTS = 1_000
_DEVICE_ID = validate.Length(1, 200)


class IngestQuery(TableQuery):
    """How rows are ingested."""

    skip_invalid = QueryFlag("Store the valid lines of a body, and report the invalid ones.")


class IngestResult(OpenSchema):
    """What became of the rows."""

    success = fields.Boolean(required=True)
    accepted = fields.Integer(required=True)
    rejected = fields.List(fields.Dict(), required=True)
    ignored_fields = fields.List(fields.String(), required=True)
    warnings = fields.List(fields.String(), required=True)


class DeviceQuery(TimeQuery):
    """How a list can be filtered."""

    device_id = fields.String(validate=_DEVICE_ID)


class RemovalQuery(Schema):
    """Which rows to delete; at least one condition is needed."""

    device_id = fields.String(validate=_DEVICE_ID)
    since = TimeBoundField()
    until = TimeBoundField()


class RemovalResult(Confirmation):
    """How many rows were deleted."""

    deleted = fields.Integer(required=True)


@dataclass(frozen=True)
class IngestedRows(Generic[RowsT]):
    """The valid rows of a request, the faults of the others, and what was not read."""

    rows: RowsT
    faults: list[RecordFault] = field(default_factory=list)
    ignored_fields: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_result(self, accepted: int, warnings: Sequence[str] = ()) -> Document:
        """Return the response, once the rows are stored."""
        return {
            "success": True,
            "accepted": accepted,
            "rejected": self.faults,
            "ignored_fields": self.ignored_fields,
            "warnings": [*self.notes, *warnings],
        }


def rows_request_body(
    schema: type[Schema] | Mapping[str, object], element: Mapping[str, object] | None = None
) -> Document:
    """Return the OpenAPI request body of rows: one record, an array, NDJSON lines or a CSV text.

    Parameters
    ----------
    schema : Schema or mapping
        One record, in marshmallow's form or in JSON Schema's.
    element : mapping, optional
        A record in an array, where that has another schema.
    """
    array = {"type": "array", "items": element or schema, "minItems": 1, "maxItems": MAX_RECORDS}
    text = {"schema": {"type": "string"}}
    return {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": [schema, array]}},
            NDJSON_TYPE: text,
            CSV_TYPE: text,
            **{name: {"schema": {"type": "string", "format": "binary"}} for name in BINARY_TABLE_TYPES},
        },
    }


def read_rows(schema: RecordSchema, parse: Parser[RowsT], query: Query) -> IngestedRows[RowsT]:
    """Read the rows of the request.

    Raises
    ------
    InvalidRecords
        A column is missing; a line is wrong and ``skip_invalid`` was not set; no line is valid; or there are none,
        or too many.
    """
    parsed = read_records(query["date_order"], MAX_RECORDS, query["sheet"])
    check_count(parsed.records, MAX_RECORDS, "records")
    columns = ColumnNames(
        query.get("time_column"),
        query.get("tag_column"),
        query.get("value_column"),
        query.get("channel_column"),
    )
    records = list(
        columns.rename(parsed.records, time=schema.time[0], tag=schema.required[0][0], value="value")
    )
    rows, faults = parse(records, tenant(), parsed.is_single)
    if faults and not (query["skip_invalid"] and len(rows)):  # type: ignore[arg-type]
        raise InvalidRecords(faults[:MAX_FAULTS], wrong=len(faults))
    return IngestedRows(rows, faults[:MAX_FAULTS], schema.ignored(records), parsed.notes)


def require_conditions(conditions: Where) -> Where:
    """Return the conditions, or raise where there is none: a forgotten parameter must not empty a table."""
    if not conditions:
        raise InvalidContent("Say which rows go: device_id, since or until")
    return conditions


def removal_result(count: int, noun: str) -> Document:
    """Return the response to a removal."""
    return {"success": True, "deleted": count, "message": f"{count} {noun} deleted"}
