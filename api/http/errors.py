"""The one place where errors become responses: one shape, whatever went wrong and wherever."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Mapping

import structlog
from flask import Flask, Response, current_app, g, request
from marshmallow import Schema, fields
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as MethodRefused

from api.http.context import identity, manager
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

_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RETRY_AFTER_SECONDS = {409: 2, 429: 60, 503: 2}
# Codes whose status often means "try again", but where waiting alone changes nothing.
_PERMANENT_CODES = ("no_champion", "cancelled", "conflict", "interrupted")


class FaultView(Schema):
    """One fault of one record or parameter."""

    class Meta:
        unknown = "include"

    record = fields.Integer(allow_none=True, metadata={"description": "Counts from 1."})
    field = fields.String(allow_none=True)
    code = fields.String()
    value = fields.Raw(allow_none=True)


class ErrorView(Schema):
    """The shape of every response that is not a success."""

    class Meta:
        unknown = "include"

    success = fields.Boolean(required=True, metadata={"enum": [False]})
    error = fields.String(required=True, metadata={"description": "A sentence for a person."})
    code = fields.String(required=True, metadata={"description": "A code for a machine; it never changes."})
    validation_errors = fields.List(fields.String(), metadata={"description": "One sentence per fault."})
    errors = fields.List(fields.Nested(FaultView), metadata={"description": "The same faults for a machine."})


ERROR_FORMATS = "millwright.error_formats"
# From a status and a sentence that the caller may read.
ErrorFormat = Callable[[int, str], dict[str, object]]


def install(app: Flask, formats: Mapping[str, ErrorFormat]) -> None:
    """Turn every exception of this application into a response of the one shape.

    Parameters
    ----------
    formats : mapping of str to callable
        Other shapes, by the path of a route that speaks the protocol of another product.
    """
    app.extensions[ERROR_FORMATS] = formats
    app.register_error_handler(MillwrightError, error_response)
    app.register_error_handler(HTTPException, http_error_response)
    app.register_error_handler(OSError, os_error_response)
    app.register_error_handler(Exception, unexpected_error_response)


def error_response(error: MillwrightError) -> Response:
    """Return the response to an error that was raised on purpose; where things are is for operators only."""
    body = error.body()
    if error.status >= 500:
        if error.detail:
            log.warning("storage_refused", code=error.code, detail=error.detail)
        if not may_see_details():
            body["error"] = error.message.replace(f"{manager().settings.home}/", "")
        elif error.detail:
            body["detail"] = error.detail
    format_error = current_app.extensions.get(ERROR_FORMATS, {}).get(request.path.rstrip("/"))
    if format_error:
        # Other shapes have no list of faults.
        faults = body.get("validation_errors")
        sentences = [str(body["error"]), *(faults if isinstance(faults, list) else [])]
        body = format_error(error.status, "; ".join(map(str, sentences)))
    response = json_response(body, error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="millwright"'
    if error.status in _RETRY_AFTER_SECONDS and error.code not in _PERMANENT_CODES:
        seconds = error.facts.get("retry_after", _RETRY_AFTER_SECONDS[error.status])
        response.headers["Retry-After"] = str(seconds)
    return response


def may_see_details() -> bool:
    """Return whether this request's caller is known to be an administrator."""
    return "identity" in g and identity().role == "admin"


def http_error_response(error: HTTPException) -> Response:
    """Return the response to what routing and the body's limits refuse."""
    response = error_response(translate_http_error(error))
    for name, value in error.get_headers(request.environ):
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def translate_http_error(error: HTTPException) -> MillwrightError:
    """Return what routing and the body's limits refuse as an error with a sentence for a person."""
    status = error.code or 500
    if status == 404:
        return NotFound("There is nothing at this address; /docs lists what there is")
    if status == 405:
        valid = error.valid_methods if isinstance(error, MethodRefused) else None
        methods = sorted({*(valid or ())} - {"HEAD", "OPTIONS"})
        return MethodNotAllowed(f"{request.method} is not possible here, only {' and '.join(methods)}")
    if status == 413:
        limit = (request.max_content_length or 0) // 1_000_000
        return BodyTooLarge(f"The body is over the limit of {limit} MB")
    if status == 415:
        return UnsupportedMediaType("This content type is not read here")
    if status >= 500:
        return _internal_error(error)
    malformed = MalformedBody(f"The request cannot be read: {error.name}")
    malformed.status = status
    return malformed


def os_error_response(error: OSError) -> Response:
    """Return the response to a failing disk or network that no lower layer has translated."""
    log.error("storage_failed", errno=error.errno, file=str(error.filename or ""), reason=error.strerror)
    if error.errno in _OUT_OF_SPACE:
        return error_response(DiskFull("There is no space left on the disk; nothing has changed"))
    reason = error.strerror or type(error).__name__
    return error_response(StorageFailed(f"The disk or the network refused: {reason}"))


def unexpected_error_response(error: Exception) -> Response:
    """Return 500 with an error id; the traceback is logged under that id."""
    return error_response(_internal_error(error))


def _internal_error(error: BaseException) -> MillwrightError:
    error_id = secrets.token_hex(8)
    log.error("internal_error", error_id=error_id, path=request.path, exc_info=error)
    message = "Something went wrong inside Millwright; the log has the details under this error_id"
    return MillwrightError(message, error_id=error_id)


def error_from_dict(status: int, body: Mapping[str, object]) -> MillwrightError:
    """Return an error as a session recorded it, ready to be raised again."""
    facts = {
        name: value for name, value in body.items() if name not in ("success", "error", "code", "status")
    }
    error = MillwrightError(str(body.get("error", "The session failed")), **facts)
    error.status, error.code = status, str(body.get("code", "training_failed"))
    return error
