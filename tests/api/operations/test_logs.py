"""Logs are printable, whatever a client sends."""

from __future__ import annotations

import json
from typing import Any

import structlog
from flask.testing import FlaskClient

from api.operations import logs


def render(event: Any) -> str:
    """Return the line of an event, as the server writes it where nobody watches."""
    for processor in logs._SHARED:
        event = processor(None, "info", event)
    return str(structlog.processors.JSONRenderer(serializer=logs._serialize)(None, "info", event))


def test_a_path_cannot_drive_the_operators_terminal() -> None:
    line = render({"event": "request", "path": "/\x1b]0;owned\x07\x9b2J\nERROR forged", "status": 404})
    assert line.isprintable()
    assert json.loads(line)["path"] == "/\\x1b]0;owned\\x07\\x9b2J\\x0aERROR forged"


def test_text_in_any_language_stays_as_it_is() -> None:
    assert json.loads(render({"event": "request", "path": "/Température"}))["path"] == "/Température"


def test_a_request_is_named_in_its_answer_and_in_its_log(client: FlaskClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"X-Request-ID": "order-17", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    # What binds the names to log lines is set here; the renderer of a test prints them as they are.
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        answer = client.get("/nothing", headers=headers)
        other = client.get("/nothing", headers={"X-Request-ID": "a b", "traceparent": "00-0-0-01"})
    assert answer.headers["X-Request-ID"] == "order-17"
    assert answer.headers["traceparent"].startswith(f"00-{trace}-")
    assert (lines[0]["request_id"], lines[0]["trace_id"]) == ("order-17", trace)
    assert other.headers["X-Request-ID"] == lines[1]["request_id"] != "a b"
    assert "traceparent" not in other.headers
    assert "trace_id" not in lines[1]
