"""JSON out: fast, times in RFC 3339 UTC, never NaN."""

from __future__ import annotations

import json
from typing import Any

import orjson
from flask import Response
from flask.json.provider import JSONProvider

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_NON_STR_KEYS


class OrjsonProvider(JSONProvider):
    """Flask's JSON through orjson."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return encode_json(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        return json_response(self._prepare_response_obj(args, kwargs))


def json_response(document: Any, status: int = 200) -> Response:
    """The document as an answer."""
    return Response(encode_json(document), status, mimetype="application/json")


def encode_json(document: Any) -> bytes:
    """The document as JSON; integers beyond 64 bits (a client's, echoed in an error) take the slow way."""
    try:
        return orjson.dumps(document, option=_OPTIONS)
    except TypeError:
        return json.dumps(document, allow_nan=False, default=str).encode()
