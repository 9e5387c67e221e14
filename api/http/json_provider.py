"""JSON responses: written by orjson, times in RFC 3339 UTC, never NaN."""

from __future__ import annotations

import json
from collections.abc import Callable

import orjson
from flask import Response
from flask.json.provider import JSONProvider

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_NON_STR_KEYS


class OrjsonProvider(JSONProvider):
    """Flask's JSON through orjson."""

    def dumps(self, obj: object, **kwargs: object) -> str:
        return encode_json(obj).decode()

    def loads(self, s: str | bytes, **kwargs: object) -> object:
        return orjson.loads(s)

    def response(self, *args: object, **kwargs: object) -> Response:
        return json_response(self._prepare_response_obj(args, kwargs))


def json_response(document: object, status: int = 200) -> Response:
    """Return the document as a response."""
    return Response(encode_json(document), status, mimetype="application/json")


def encode_json(document: object, default: Callable[[object], object] | None = None) -> bytes:
    """Return the document as bytes; ``default`` converts what has no form of its own."""
    try:
        return orjson.dumps(document, default, _OPTIONS)
    except TypeError:
        # orjson refuses integers beyond 64 bits, which an error may echo from a client's body.
        return json.dumps(document, allow_nan=False, default=default or str).encode()
