"""Training sessions: what ran, what runs, how far it is, and its events as they happen."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, request
from marshmallow import Schema, fields

from api.http.context import identity, manager
from api.http.resource import Resource
from api.http.schemas import PageQuery
from api.training.event_stream import EventStream, StreamSlots
from errors import InvalidContent, NotReady
from storage.db.sessions import ENDED_STATES, LIVE_STATES, Session

STREAM_SLOTS = "millwright.event_readers"

sessions = Resource("sessions", "Training runs, from request to end.")
EVENT = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string", "example": "fit"},
        "data": {"type": "string", "description": "A JSON object.", "example": '{"progress_pct": 15}'},
    },
}
"""One event of the stream."""


class SessionView(Schema):
    """One training session."""

    training_session_id = fields.Integer(required=True)
    model = fields.String(required=True, metadata={"example": "scoring/default"})
    kind = fields.String(required=True)
    why = fields.List(fields.String(), metadata={"description": "Why the schedule started it."})
    state = fields.String(required=True, metadata={"enum": [*LIVE_STATES, *ENDED_STATES]})
    stage = fields.String(allow_none=True)
    progress_pct = fields.Float(allow_none=True)
    created = fields.DateTime(allow_none=True)
    started = fields.DateTime(allow_none=True)
    ended = fields.DateTime(allow_none=True)
    records_added = fields.Integer(allow_none=True)
    records_skipped = fields.Integer(allow_none=True)
    corrections = fields.Integer(allow_none=True)
    options = fields.Dict(allow_none=True)
    metrics = fields.Dict(allow_none=True)
    promoted = fields.Boolean(allow_none=True)
    reasons = fields.List(fields.String())
    warnings = fields.List(fields.String())
    message = fields.String(allow_none=True)
    backup = fields.String(allow_none=True)
    version = fields.Integer(allow_none=True)
    error = fields.Dict(allow_none=True)
    training_time_seconds = fields.Float(allow_none=True)
    items = fields.List(fields.Dict(), metadata={"description": "What became of each model of a fleet."})


class SessionList(Schema):
    """A page of sessions, the newest first."""

    sessions = fields.List(fields.Nested(SessionView), required=True)
    count = fields.Integer(required=True)
    next_cursor = fields.Integer(required=True, allow_none=True)


def session_to_dict(session: Session) -> dict[str, Any]:
    """A session as the API tells it."""
    return {
        "training_session_id": session.id,
        "model": f"{session.family}/{session.name}",
        "kind": session.kind,
        "why": session.details.get("trigger_reasons") or session.details.get("why", []),
        "state": session.state,
        "stage": session.stage,
        "progress_pct": session.progress_pct,
        "created": session.created_at,
        "started": session.started_at,
        "ended": session.ended_at,
        "records_added": session.records_added,
        "records_skipped": session.records_skipped,
        "corrections": session.corrections,
        "options": session.options,
        "metrics": session.metrics,
        "promoted": session.promoted,
        "reasons": session.reasons,
        "warnings": session.warnings,
        "message": session.message,
        "backup": session.backup,
        "version": session.version,
        "error": session.error,
        "training_time_seconds": session.training_time_seconds,
    }


@sessions.serves("/train/sessions", {200: SessionList}, query=PageQuery)
def list_sessions(query: dict[str, Any]) -> dict[str, Any]:
    """Sessions of all families, the newest first."""
    limit = query["limit"]
    found = manager().sessions.list(identity().tenant, limit=limit + 1, cursor=query.get("cursor"))
    page = found[:limit]
    return {
        "sessions": [session_to_dict(session) for session in page],
        "count": len(page),
        "next_cursor": page[-1].id if len(found) > limit else None,
    }


@sessions.serves("/train/sessions/<number:session_id>", {200: SessionView})
def get_session(session_id: int) -> dict[str, Any]:
    """One session; a fleet's with what became of each model."""
    session = _session(session_id)
    return {**session_to_dict(session), **({"items": session.items} if session.items else {})}


@sessions.serves(
    "/train/sessions/<number:session_id>/events",
    {200: {"text/event-stream": EVENT}, 204: {}},
    errors=(422,),
)
def stream_events(session_id: int) -> Response:
    """The session's events as server-sent events.

    ---
    Every event has an id; a reader that was cut off sends the last one as `Last-Event-ID` and goes on there.
    The stream ends with an `end` event when the session has ended; who comes back after that gets a 204.
    """
    session, after = _session(session_id), _last_event_id()
    store = manager().sessions
    if after and session.has_ended and not store.events(session_id, after):
        return Response(status=204)
    readers: StreamSlots = current_app.extensions[STREAM_SLOTS]
    if not readers.enter():
        raise NotReady("Too many event streams are open; ask for the session itself, or come back later")
    stream = EventStream(store, session_id, after, readers)
    return Response(stream, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})


@sessions.serves(
    "/train/sessions/<number:session_id>/cancel",
    {200: SessionView, 202: SessionView},
    method="POST",
    role="train",
    repeatable=False,
)
def cancel_session(session_id: int) -> Any:
    """Stop a session: its process is killed, nothing changes.

    ---
    202 where it is in a step that cannot be broken off at once (a large backup): it stops before it commits.
    """
    session = manager().cancel(session_id, identity().tenant)
    return session_to_dict(session), 200 if session.has_ended else 202


def _session(session_id: int) -> Session:
    return manager().sessions.get(session_id, identity().tenant)


def _last_event_id() -> int:
    text = request.headers.get("Last-Event-ID", "").strip()
    if not (text.isascii() and (text or "0").isdecimal() and len(text) < 16):
        raise InvalidContent("Last-Event-ID must be the id of an event of this session")
    return int(text or "0")
