"""What the routes for rows of devices share: how many are taken at once, narrowed and removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, fields, validate

from api.http.fields import TimeBoundField
from api.http.request_body import CSV, NDJSON, read_records
from api.http.schemas import Confirmation, OpenSchema, QueryFlag
from api.sensors.context import tenant
from api.sensors.crud import TimeQuery
from errors import InvalidContent, InvalidRecords
from prediction.records.fields import RecordFault
from prediction.records.parsing import NumberedRecord
from prediction.records.schema import RecordSchema
from prediction.rul.records import MAX_RECORDS

MAX_FAULTS = 1_000
Fault = RecordFault
Checked = Callable[[Sequence[NumberedRecord], str, bool], tuple[Any, list[Fault]]]
_DEVICE = validate.Length(1, 200)


class IngestQuery(Schema):
    """How rows are taken."""

    skip_invalid = QueryFlag("Store the valid lines of a file and answer the invalid ones.")


class IngestResult(OpenSchema):
    """What became of the rows."""

    success = fields.Boolean(required=True)
    accepted = fields.Integer(required=True)
    rejected = fields.List(fields.Dict(), required=True)
    ignored_fields = fields.List(fields.String(), required=True)
    warnings = fields.List(fields.String(), required=True)


@dataclass(frozen=True)
class IngestedRows:
    """The right rows of a request, the faults of the wrong ones, and the fields that nobody reads."""

    rows: Any
    faults: list[Fault] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def told(self, accepted: int, warnings: Sequence[str] = ()) -> dict[str, Any]:
        """The answer, once the rows are stored."""
        told = {"success": True, "accepted": accepted, "rejected": self.faults}
        return {**told, "ignored_fields": self.ignored, "warnings": list(warnings)}


class DeviceQuery(TimeQuery):
    """How a list can be narrowed."""

    device_id = fields.String(validate=_DEVICE)


class RemovalQuery(Schema):
    """Which rows go; at least one condition must be said."""

    device_id = fields.String(validate=_DEVICE)
    since = TimeBoundField()
    until = TimeBoundField()


class RemovalResult(Confirmation):
    """How many rows are gone."""

    deleted = fields.Integer(required=True)


def body_of(schema: type[Schema] | dict[str, Any], dated: dict[str, Any] | None = None) -> dict[str, Any]:
    """One record of a schema, marshmallow's or JSON's, an array of them, NDJSON lines or a CSV text.

    Parameters
    ----------
    dated : dict, optional
        The schema of a record in an array, where it is another.
    """
    many = {"type": "array", "items": dated or schema, "minItems": 1, "maxItems": MAX_RECORDS}
    plain = {"schema": {"type": "string"}}
    return {
        "required": True,
        "content": {"application/json": {"schema": {"anyOf": [schema, many]}}, NDJSON: plain, CSV: plain},
    }


def read_rows(form: RecordSchema, checked: Checked, skip_invalid: bool) -> IngestedRows:
    """What the request brings.

    Raises
    ------
    InvalidRecords
        A column is missing; a line is wrong and ``skip_invalid`` is not set; no line is right; or there
        are none, or too many.
    """
    sent = read_records()
    count = len(sent.records)
    if not 1 <= count <= MAX_RECORDS:
        said = f"Expected 1 to {MAX_RECORDS:,} records, got {count:,}"
        fault = {"record": None, "field": None, "code": "count", "value": count, "message": said}
        raise InvalidRecords([fault])
    rows, faults = checked(sent.records, tenant(), sent.is_single)
    if faults and not (skip_invalid and len(rows)):
        raise InvalidRecords(faults[:MAX_FAULTS], wrong=len(faults))
    return IngestedRows(rows, faults[:MAX_FAULTS], form.ignored(sent.records))


def build_conditions(
    query: Mapping[str, Any], device: sa.Column[str], time: sa.Column[Any], moment: Callable[[Any], Any]
) -> list[sa.ColumnElement[bool]]:
    """The conditions that a query's device and times mean."""
    found: list[sa.ColumnElement[bool]] = []
    if "device_id" in query:
        found.append(device == query["device_id"].replace("\0", ""))
    if "since" in query:
        found.append(time >= moment(query["since"]))
    if "until" in query:
        found.append(time <= moment(query["until"]))
    return found


def require_conditions(found: list[sa.ColumnElement[bool]]) -> list[sa.ColumnElement[bool]]:
    """The same, refused where there is none: nobody empties a table by a forgotten parameter."""
    if not found:
        raise InvalidContent("Say which rows go: device_id, since or until")
    return found


def removal_result(count: int, noun: str) -> dict[str, Any]:
    """The answer to a removal."""
    return {"success": True, "deleted": count, "message": f"{count} {noun} deleted"}
