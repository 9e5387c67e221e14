"""Logs are printable, whatever a client sends."""

from __future__ import annotations

import json

import structlog

from api.operations import logs


def render(event: structlog.typing.EventDict) -> str:
    """Return the line of an event, as the server writes it where nobody watches."""
    for processor in (*logs._SHARED, structlog.processors.JSONRenderer(serializer=logs._serialize)):
        event = processor(None, "info", event)  # type: ignore[arg-type, assignment]
    return str(event)


def test_a_path_cannot_drive_the_operators_terminal() -> None:
    line = render({"event": "request", "path": "/\x1b]0;owned\x07\x9b2J\nERROR forged", "status": 404})
    assert line.isprintable()
    assert json.loads(line)["path"] == "/\\x1b]0;owned\\x07\\x9b2J\\x0aERROR forged"


def test_text_in_any_language_stays_as_it_is() -> None:
    assert json.loads(render({"event": "request", "path": "/Température"}))["path"] == "/Température"
