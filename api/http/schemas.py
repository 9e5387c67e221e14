"""Schemas that several resources share: list queries, list envelopes, confirmations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from api.http.fields import QueryFlag
from api.http.unknown_fields import explain_unknown_fields
from errors import InvalidContent
from storage.text.dates import DATE_ORDERS


class OpenSchema(Schema):
    """A response that may carry more fields than are named."""

    class Meta:
        unknown = "include"


class Confirmation(OpenSchema):
    """A change that was made, or with dry_run would be made."""

    success = fields.Boolean(required=True)
    message = fields.String()


class PageQuery(Schema):
    """Query parameters of a list."""

    limit = fields.Integer(load_default=50, validate=validate.Range(1, 1000))
    cursor = fields.Integer(
        validate=validate.Range(1, 10**15),
        metadata={"description": "next_cursor of the page before; without it the newest come first."},
    )


class DryRunQuery(Schema):
    """The query of a change that can be tried."""

    dry_run = QueryFlag("Report what would happen and change nothing.")


class TableBodyQuery(Schema):
    """How the body is read, where it is a table."""

    date_order = fields.String(
        load_default=None,
        validate=validate.OneOf(DATE_ORDERS),
        metadata={"description": "Which comes first in dates of a CSV body such as 03/04/2024."},
    )
    sheet = fields.String(
        load_default=None,
        validate=validate.Length(1, 200),
        metadata={"description": "The sheet of a workbook; not needed where one alone has cells."},
    )


class TableQuery(TableBodyQuery):
    """How a table is read, and what its columns are called."""

    time_column = fields.String(
        validate=validate.Length(1, 200), metadata={"description": "The column of the times."}
    )
    tag_column = fields.String(
        validate=validate.Length(1, 200),
        metadata={"description": "The column that names the sensor or device."},
    )


def page_schema(
    view: type[Schema],
    cursor: type[fields.Integer] | type[fields.String] = fields.Integer,
    name: str | None = None,
) -> type[Schema]:
    """Return the schema of one page of a list: the envelope that all lists of this API share."""
    return Schema.from_dict(
        {
            "results": fields.List(fields.Nested(view), required=True),
            "count": fields.Integer(required=True),
            "next_cursor": cursor(required=True, allow_none=True),
        },
        name=name or f"{view.__name__}Page",
    )


def page(results: Sequence[object], next_cursor: int | str | None = None) -> dict[str, object]:
    """Return one page of a list in the envelope of `page_schema`."""
    return {"results": results, "count": len(results), "next_cursor": next_cursor}


def load_document(schema: type[Schema] | Schema, document: object) -> dict[str, Any]:
    """Return a small document as its schema reads it, defaults filled in.

    Raises
    ------
    InvalidContent
        Everything that is wrong with it, by field.
    """
    instance = schema if isinstance(schema, Schema) else schema()
    try:
        loaded: dict[str, Any] = instance.load(document)  # type: ignore[arg-type]
    except ValidationError as error:
        raise invalid_content("The body cannot be used", error, instance) from error
    return loaded


def invalid_content(message: str, error: ValidationError, schema: Schema) -> InvalidContent:
    """Return the error for what marshmallow refused, with a sentence per field."""
    messages = explain_unknown_fields(error.normalized_messages(), schema)  # type: ignore[no-untyped-call]
    by_field = {str(name): reasons for name, reasons in messages.items()}
    sentences = [f"{name}: {_join(by_field[name])}" for name in sorted(by_field)]
    faults = [{"field": name, "code": "value"} for name in sorted(by_field)]
    return InvalidContent(message, validation_errors=sentences, errors=faults)


def _join(reasons: object) -> str:
    if isinstance(reasons, Mapping):
        return "; ".join(f"{name}: {_join(inner)}" for name, inner in reasons.items())
    return " ".join(map(str, reasons)) if isinstance(reasons, list) else str(reasons)
