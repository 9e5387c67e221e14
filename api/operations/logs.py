"""Logs: one line per event, JSON unless a person watches; never a body, never a key."""

from __future__ import annotations

import logging
import re
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog
from flask import Flask, Response, g, request
from gunicorn.glogging import Logger

from api.http.json_provider import encode_json
from api.operations.metrics import elapsed_seconds

log = structlog.get_logger()

_REQUEST_ID = re.compile("[!-~]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACE_PARENT = re.compile("00-(?P<trace>[0-9a-f]{32})-[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})")
_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f]")


def escape_control_characters(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Make what clients send printable: a request's path must not drive the operator's terminal."""
    for key, value in event.items():
        if isinstance(value, str) and _CONTROL_CHARACTER.search(value):
            event[key] = _CONTROL_CHARACTER.sub(lambda match: f"\\x{ord(match[0]):02x}", value)
    return event


_SHARED: list[structlog.typing.Processor] = [
    escape_control_characters,
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
# Tracebacks are written without the values of variables: a body or a key may be among them.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def configure(level: str) -> None:
    """Send events to standard error from here on."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[*_SHARED, _TRACEBACKS, _renderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, BestEffortStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )


class BestEffortStream:
    """A text stream that drops what a full disk refuses: no request fails because it cannot be logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop the text."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or leave it."""
        with suppress(OSError):
            self._stream.flush()


def _renderer() -> structlog.typing.Processor:
    if sys.stderr.isatty():
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer(serializer=_serialize)


def _serialize(event: object, default: Callable[[object], object], **options: object) -> str:
    return encode_json(event, default).decode()


def install(app: Flask) -> None:
    """Log every response of this application, and name each request in its answer and in its log lines."""
    app.before_request(_name_request)
    app.after_request(_log_response)


def _name_request() -> None:
    """Keep the caller's X-Request-ID, or make one; keep the trace that a traceparent belongs to."""
    given = request.headers.get("X-Request-ID", "")
    names = {"request_id": given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)}
    trace = _TRACE_PARENT.fullmatch(request.headers.get("traceparent", ""))
    if trace is not None and any(character != "0" for character in trace["trace"]):
        names["trace_id"] = trace["trace"]
        g.traceparent = f"00-{trace['trace']}-{secrets.token_hex(8)}-{trace['flags']}"
    g.request_id = names["request_id"]
    # A thread serves many requests, one after the other.
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**names)


def _log_response(response: Response) -> Response:
    if "request_id" in g:
        response.headers["X-Request-ID"] = g.request_id
    if "traceparent" in g:
        response.headers["traceparent"] = g.traceparent
    # Load balancers ask for health every few seconds: only failures are worth a line.
    is_routine = request.path.startswith("/health") and response.status_code < 500
    (log.debug if is_routine else log.info)(
        "request",
        method=request.method,
        path=request.path[:200],
        status=response.status_code,
        ms=round(elapsed_seconds() * 1000, 1),
        key_id=g.identity.key_id or None if "identity" in g else None,
    )
    return response


class GunicornLogger(Logger):  # type: ignore[misc]
    """gunicorn's own messages, in the same form as ours."""

    def setup(self, cfg: Any) -> None:
        """Set up the handlers; gunicorn calls this once its settings are known."""
        super().setup(cfg)
        formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processor=_renderer())
        for handler in self.error_log.handlers:
            handler.setFormatter(formatter)
