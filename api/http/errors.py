"""The one place where errors become answers: one shape, whatever went wrong and wherever."""

from __future__ import annotations

import errno
import secrets
from typing import Any

import structlog
from flask import Flask, Response, request
from marshmallow import Schema, fields
from werkzeug.exceptions import HTTPException

from api.http.json_provider import json_response
from errors import (
    BodyTooLarge,
    DiskFull,
    MalformedBody,
    MethodNotAllowed,
    MillwrightError,
    NotFound,
    StorageFailed,
    UnsupportedMediaType,
)

log = structlog.get_logger()

OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RETRY_AFTER_SECONDS = {409: 2, 429: 60, 503: 2}


class FaultView(Schema):
    """One fault of one record or parameter."""

    class Meta:
        unknown = "include"

    record = fields.Integer(allow_none=True, metadata={"description": "Counts from 1."})
    field = fields.String(allow_none=True)
    code = fields.String()
    value = fields.Raw(allow_none=True)


class ErrorView(Schema):
    """The shape of every answer that is not a success."""

    class Meta:
        unknown = "include"

    success = fields.Boolean(required=True, metadata={"enum": [False]})
    error = fields.String(required=True, metadata={"description": "A sentence for a person."})
    code = fields.String(required=True, metadata={"description": "A code for a machine; it never changes."})
    validation_errors = fields.List(fields.String(), metadata={"description": "A sentence a fault."})
    errors = fields.List(fields.Nested(FaultView), metadata={"description": "The same faults for a machine."})


def install(app: Flask) -> None:
    """Answer every exception of this application in the one shape."""
    app.register_error_handler(MillwrightError, error_response)
    app.register_error_handler(HTTPException, http_error_response)
    app.register_error_handler(OSError, os_error_response)
    app.register_error_handler(Exception, unexpected_error_response)


def error_response(error: MillwrightError) -> Response:
    """The answer to an error raised on purpose."""
    response = json_response(error.body(), error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="millwright"'
    if error.status in RETRY_AFTER_SECONDS and error.code not in _LASTING:
        response.headers["Retry-After"] = str(
            error.facts.get("retry_after", RETRY_AFTER_SECONDS[error.status])
        )
    return response


_LASTING = ("no_champion", "cancelled", "conflict", "interrupted")
"""Codes whose status often means *try again*, but where waiting alone changes nothing."""


def http_error_response(error: HTTPException) -> Response:
    """The answer to what routing and the body's limits refuse."""
    response = error_response(_translated(error))
    for name, value in error.get_headers(request.environ):
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _translated(error: HTTPException) -> MillwrightError:
    if error.code == 404:
        return NotFound("There is nothing at this address; /docs lists what there is")
    if error.code == 405:
        methods = sorted({*(getattr(error, "valid_methods", None) or ())} - {"HEAD", "OPTIONS"})
        return MethodNotAllowed(f"{request.method} is not possible here, only {' and '.join(methods)}")
    if error.code == 413:
        limit = (request.max_content_length or 0) // 1_000_000
        return BodyTooLarge(f"The body is over the limit of {limit} MB")
    if error.code == 415:
        return UnsupportedMediaType("This content type is not read here")
    return _generic(error)


def _generic(error: HTTPException) -> MillwrightError:
    status = error.code or 500
    translated = MalformedBody(f"The request cannot be read: {error.name}")
    if status >= 500:
        return _unexpected(error)
    translated.status = status
    return translated


def os_error_response(error: OSError) -> Response:
    """The answer to a disk that refuses, where no room of the house has named it already."""
    log.error("storage_failed", errno=error.errno, file=str(error.filename or ""), reason=error.strerror)
    if error.errno in OUT_OF_SPACE:
        return error_response(DiskFull("There is no space left on the disk; nothing has changed"))
    return error_response(
        StorageFailed(f"The disk or the network refused: {error.strerror or type(error).__name__}")
    )


def unexpected_error_response(error: Exception) -> Response:
    """The answer to a mistake of ours: an id that finds the log entry, and nothing of its inside."""
    return error_response(_unexpected(error))


def _unexpected(error: BaseException) -> MillwrightError:
    error_id = secrets.token_hex(8)
    log.error("internal_error", error_id=error_id, path=request.path, exc_info=error)
    sentence = "Something went wrong inside Millwright; the log has the details under this error_id"
    return MillwrightError(sentence, error_id=error_id)


def error_from_dict(status: int, body: dict[str, Any]) -> MillwrightError:
    """An error as a session recorded it, ready to be answered again."""
    told = ("success", "error", "code", "status")
    facts = {name: value for name, value in body.items() if name not in told}
    error = MillwrightError(str(body.get("error", "The session failed")), **facts)
    error.status, error.code = status, str(body.get("code", "training_failed"))
    return error
