"""Training sessions: what ran, what runs, how far it is, and its events as they happen."""

from __future__ import annotations

from flask import Response, current_app, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields

from api.http.context import identity, manager
from api.http.resource import Document, Query, Resource
from api.http.schemas import PageQuery, page, page_schema
from api.training.event_stream import WAIT_SLOTS, EventStream, WaitSlots
from errors import InvalidContent, NotReady
from storage.db.sessions import ENDED_STATES, LIVE_STATES, Session

sessions = Resource("sessions", "Training runs, from request to end.")
# The models of a batch would take seconds to decode; a list shows none of them.
_LISTED_DETAILS = ("trigger_reasons", "why", "quarantined")
_EVENT = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string", "example": "fit"},
        "data": {"type": "string", "description": "An object.", "example": '{"progress_pct": 15}'},
    },
}


class SessionView(Schema):
    """One training session."""

    training_session_id = fields.Integer(required=True)
    uid = fields.String(
        allow_none=True,
        metadata={"description": "Unique over all databases; null for sessions of version 0.1."},
    )
    model = fields.String(required=True, metadata={"example": "scoring/default"})
    kind = fields.String(required=True)
    trigger_reasons = fields.List(fields.String(), metadata={"description": "Why the schedule started it."})
    state = fields.String(required=True, metadata={"enum": [*LIVE_STATES, *ENDED_STATES]})
    stage = fields.String(allow_none=True)
    progress_pct = fields.Float(allow_none=True)
    created_at = fields.DateTime(allow_none=True)
    started_at = fields.DateTime(allow_none=True)
    ended_at = fields.DateTime(allow_none=True)
    records_added = fields.Integer(allow_none=True)
    records_skipped = fields.Integer(allow_none=True)
    records_in_quarantine = fields.Integer(
        metadata={"description": "When it ended; they may be released since."}
    )
    corrections = fields.Integer(allow_none=True)
    options = fields.Dict(allow_none=True)
    metrics = fields.Dict(allow_none=True)
    promoted = fields.Boolean(allow_none=True)
    reasons = fields.List(fields.String())
    warnings = fields.List(fields.String())
    message = fields.String(allow_none=True)
    backup_location = fields.String(allow_none=True)
    version = fields.Integer(allow_none=True)
    error = fields.Dict(allow_none=True)
    training_time_seconds = fields.Float(allow_none=True)
    models = fields.List(fields.Dict(), metadata={"description": "The result of each model of a batch."})


def session_to_dict(session: Session) -> Document:
    """Return a session as this API shows it."""
    return {
        "training_session_id": session.id,
        "uid": session.uid,
        "model": f"{session.family}/{session.name}",
        "kind": session.kind,
        "trigger_reasons": session.details.get("trigger_reasons") or session.details.get("why", []),
        "state": session.state,
        "stage": session.stage,
        "progress_pct": session.progress_pct,
        "created_at": session.created_at,
        "started_at": session.started_at,
        "ended_at": session.ended_at,
        "records_added": session.records_added,
        "records_skipped": session.records_skipped,
        **({"records_in_quarantine": count} if (count := session.details.get("quarantined")) else {}),
        "corrections": session.corrections,
        "options": session.options,
        "metrics": session.metrics,
        "promoted": session.promoted,
        "reasons": session.reasons,
        "warnings": session.warnings,
        "message": session.message,
        "backup_location": session.backup,
        "version": session.version,
        "error": session.error,
        "training_time_seconds": session.training_time_seconds,
    }


@sessions.operation("/train/sessions", {200: page_schema(SessionView)}, query=PageQuery)
def list_sessions(query: Query) -> ResponseReturnValue:
    """List the sessions of all families, the newest first."""
    limit = query["limit"]
    rows = manager().sessions.list(
        identity().tenant, limit=limit + 1, cursor=query.get("cursor"), details=_LISTED_DETAILS
    )
    shown = rows[:limit]
    return page(list(map(session_to_dict, shown)), shown[-1].id if len(rows) > limit else None)


@sessions.operation("/train/sessions/<number:session_id>", {200: SessionView})
def get_session(session_id: int) -> ResponseReturnValue:
    """Return one session; that of a batch with the result of each model."""
    session = _get_session(session_id)
    return {**session_to_dict(session), **({"models": session.items} if session.items else {})}


@sessions.operation(
    "/train/sessions/<number:session_id>/events",
    {200: {"text/event-stream": _EVENT}, 204: {}},
    errors=(422,),
)
def stream_events(session_id: int) -> Response:
    """Stream the session's events as server-sent events.

    ---
    Every event has an id; a reader that was cut off sends the last one as `Last-Event-ID` and continues there.
    The stream ends with an `end` event when the session has ended; a reader that returns after that gets a 204.
    """
    session, after = _get_session(session_id), _last_event_id()
    service = manager().sessions
    if after and session.has_ended and not service.events(session_id, after):
        return Response(status=204)
    slots: WaitSlots = current_app.extensions[WAIT_SLOTS]
    if not slots.acquire():
        raise NotReady(
            "Too many clients of this worker wait for trainings; ask for the session itself, or come back later"
        )
    stream = EventStream(service, session_id, after, slots)
    # nginx would hold events back until its buffer is full.
    return Response(stream, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})


@sessions.operation(
    "/train/sessions/<number:session_id>/cancel",
    {200: SessionView, 202: SessionView},
    method="POST",
    role="train",
    idempotent=True,
)
def cancel_session(session_id: int) -> ResponseReturnValue:
    """Cancel a session: its process is killed, nothing changes.

    ---
    202 where it is in a step that cannot be interrupted at once (a large backup): it stops before it commits.
    """
    session = manager().cancel(session_id, identity().tenant)
    return session_to_dict(session), 200 if session.has_ended else 202


def _get_session(session_id: int) -> Session:
    return manager().sessions.get(session_id, identity().tenant)


def _last_event_id() -> int:
    text = request.headers.get("Last-Event-ID", "").strip()
    if not (text.isascii() and (text or "0").isdecimal() and len(text) < 16):
        raise InvalidContent("Last-Event-ID must be the id of an event of this session")
    return int(text or "0")
