"""Pieces of schemas that several resources share: query flags, pages, plain confirmations."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from errors import InvalidContent

_ON, _OFF = ("1", "true"), ("0", "false")


class QueryFlag(fields.Field[bool]):
    """A switch in a query string: 1 or 0."""

    def __init__(self, description: str, data_key: str | None = None) -> None:
        described = {"description": description, "type": "string", "enum": [*_OFF, *_ON]}
        super().__init__(load_default=False, data_key=data_key, metadata=described)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if value in _ON:
            return True
        if value in _OFF:
            return False
        raise ValidationError("use 1 or 0")


class StrictBoolean(fields.Boolean):
    """A boolean in a JSON body: true or false, and neither 1 nor "yes"."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class PageQuery(Schema):
    """Query parameters of a list."""

    limit = fields.Integer(load_default=50, validate=validate.Range(1, 1000))
    cursor = fields.Integer(
        validate=validate.Range(1, 10**15),
        metadata={"description": "next_cursor of the page before; without it the newest come first."},
    )


class DryRunQuery(Schema):
    """The query of a change that can be tried."""

    dry_run = QueryFlag("Say what would happen and change nothing.")


class OpenSchema(Schema):
    """An answer that may carry more fields than are named."""

    class Meta:
        unknown = "include"


class Confirmation(OpenSchema):
    """A change that was made, or with dry_run would be made."""

    success = fields.Boolean(required=True)
    message = fields.String()


def load_document(schema: type[Schema], document: Any) -> dict[str, Any]:
    """A small JSON document with its defaults filled in.

    Raises
    ------
    InvalidContent
        Everything that is wrong with it.
    """
    try:
        found: dict[str, Any] = schema().load(document)
    except ValidationError as error:
        raise invalid_content("The body cannot be used", error_messages(error)) from error
    return found


def error_messages(error: ValidationError) -> dict[str, Any]:
    """What marshmallow found wrong, by field."""
    found: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
    return found


def invalid_content(sentence: str, said: dict[str, Any]) -> InvalidContent:
    """The error of what marshmallow found wrong, by field."""
    names = sorted(map(str, said))
    sentences = [f"{name}: {_joined(said[name])}" for name in names]
    faults = [{"field": name, "code": "value"} for name in names]
    return InvalidContent(sentence, validation_errors=sentences, errors=faults)


def _joined(said: Any) -> str:
    return " ".join(map(str, said)) if isinstance(said, list) else str(said)
