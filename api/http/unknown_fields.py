"""Unknown fields are refused at every door; the error names the field that may be meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from marshmallow import Schema, fields

# marshmallow's message, which names nothing that could help.
_MESSAGE = Schema._default_error_messages["unknown"]
_TIME_WORD = re.compile(r"(^|_)(time|timestamp|date|datetime|at|when|heure|zeit|datum)(_|$)", re.IGNORECASE)
_VALUE_WORD = re.compile(r"(^|_)(value|reading|valeur|mesure|measurement|wert)(_|$)", re.IGNORECASE)


def explain_unknown_fields(messages: Mapping[object, object], schema: Schema | None) -> dict[object, object]:
    """Return a validation error's messages, each unknown field with the one that may be meant."""
    explained: dict[object, object] = {}
    for name, reasons in messages.items():
        if isinstance(reasons, Mapping):
            explained[name] = explain_unknown_fields(reasons, _nested_schema(schema, name))
        elif reasons == [_MESSAGE] and schema is not None:
            explained[name] = [describe_unknown_field(str(name), schema.load_fields)]
        else:
            explained[name] = reasons
    return explained


def describe_unknown_field(name: str, known: Mapping[str, fields.Field[Any]]) -> str:
    """Return a sentence about an unknown field, with the one that may be meant or all that exist."""
    names = {str(field.data_key or key): field for key, field in known.items()}
    if likely := _find_likely(name, names):
        return f"unknown field; did you mean {likely}?"
    return f"unknown field; known are: {', '.join(sorted(names))}" if names else "unknown field"


def _find_likely(name: str, known: Mapping[str, fields.Field[Any]]) -> str | None:
    folded = {re.sub(r"[^a-z0-9]", "", other.lower()): other for other in known}
    close = get_close_matches(re.sub(r"[^a-z0-9]", "", name.lower()), folded, 1, 0.7)
    if close:
        return folded[close[0]]
    # A calibration's `timestamp` is its applied_at, and a `value` its corrected_value: nothing in the letters tells.
    if _TIME_WORD.search(name):
        return next((other for other, field in known.items() if isinstance(field, fields.DateTime)), None)
    if _VALUE_WORD.search(name):
        return next((other for other in known if _VALUE_WORD.search(other)), None)
    return None


def _nested_schema(schema: Schema | None, name: object) -> Schema | None:
    """Return the schema of a nested field; an index into a list keeps the schema of its elements."""
    if isinstance(name, int) or schema is None:
        return schema
    field = schema.load_fields.get(str(name))
    if isinstance(field, fields.List):
        field = field.inner
    nested = field.schema if isinstance(field, fields.Nested) else None
    return nested if isinstance(nested, Schema) else None
