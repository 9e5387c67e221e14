"""What a finished session answers, in the words and fields of the training guide, with ours beside them."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from api.http.errors import error_from_dict
from api.http.schemas import OpenSchema
from prediction import registry
from prediction.contract import ModelKey
from storage.db.sessions import STORED_STATES, Session
from training.services.sessions import model_key
from training_manager import TrainingOutcome

NOTHING_NEW = {
    "message": "Nothing new: every record is already known, so nothing was trained",
    "training_session_id": None,
    "promoted": None,
}
NO_ERROR = {"code": "training_failed", "error": "The session did not end well; nothing has changed"}
ERROR_STATUSES = {"failed": 500, "cancelled": 409, "interrupted": 503}


class TrainingStatistics(Schema):
    """What one session did, in numbers."""

    total_records_added = fields.Integer(required=True)
    records_per_model = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    training_time_seconds = fields.Float(required=True, allow_none=True)
    models_retrained = fields.Dict(keys=fields.String(), values=fields.Boolean(), required=True)
    backup_location = fields.String(required=True, allow_none=True)


class TrainingView(OpenSchema):
    """The end of a training request; with dry_run, what it would do."""

    success = fields.Boolean(required=True)
    message = fields.String()
    statistics = fields.Nested(TrainingStatistics)
    training_session_id = fields.Integer(allow_none=True)
    is_training = fields.Boolean()
    state = fields.String()
    model = fields.String()
    version = fields.Integer(allow_none=True)
    promoted = fields.Boolean(allow_none=True)
    metrics = fields.Dict(allow_none=True)
    reasons = fields.List(fields.String())
    warnings = fields.List(fields.String())
    ignored_fields = fields.List(fields.String())
    records_skipped = fields.Integer()
    corrections = fields.Integer()


class AcceptedView(Schema):
    """Work that goes on after the answer."""

    success = fields.Boolean(required=True)
    message = fields.String(required=True)
    training_session_id = fields.Integer(required=True)
    is_training = fields.Boolean(required=True)
    state = fields.String(required=True)
    location = fields.String(required=True)


def build_response(outcome: TrainingOutcome, key: ModelKey | None = None) -> dict[str, Any]:
    """The answer to a training request that has ended.

    Parameters
    ----------
    key : ModelKey, optional
        The model asked for, where the outcome has no session that could tell.

    Raises
    ------
    MillwrightError
        What the session recorded when it failed, was cancelled or interrupted.
    """
    session = outcome.session
    if session is not None and session.state not in STORED_STATES:
        raise _failure(session)
    key = model_key(session) if session else key or ModelKey("scoring")
    told = _told(session) if session else NOTHING_NEW
    return {
        "success": True,
        **told,
        "statistics": _statistics(session, registry.get_entry(key.family).targets),
        "is_training": False,
        "model": str(key),
        "warnings": list(outcome.warnings),
        "ignored_fields": list(outcome.ignored_fields),
        "records_skipped": outcome.skipped,
        "corrections": outcome.corrections,
    }


def session_response(session: Session) -> Any:
    """The answer of a session that somebody asks about later: its end, or where to follow it."""
    return build_response(TrainingOutcome(session)) if session.has_ended else accepted_response(session)


def accepted_response(session: Session) -> tuple[dict[str, Any], int, dict[str, str]]:
    """The 202 of a session that goes on by itself."""
    location = f"/train/sessions/{session.id}"
    body = {
        "success": True,
        "message": f"Training goes on; {location} tells how far it is",
        "training_session_id": session.id,
        "is_training": not session.has_ended,
        "state": session.state,
        "location": location,
    }
    return body, 202, {"Location": location, "Preference-Applied": "respond-async"}


def _told(session: Session) -> dict[str, Any]:
    return {
        "message": session.message,
        "training_session_id": session.id,
        "state": session.state,
        "version": session.version,
        "promoted": session.promoted,
        "metrics": session.metrics,
        "reasons": session.reasons,
    }


def _statistics(session: Session | None, parts: tuple[str, ...]) -> dict[str, Any]:
    added = session.records_added if session else 0
    return {
        "total_records_added": added,
        "records_per_model": dict.fromkeys(parts, added),
        "training_time_seconds": session.training_time_seconds if session else 0.0,
        "models_retrained": dict.fromkeys(parts, session is not None),
        "backup_location": session.backup if session else None,
    }


def _failure(session: Session) -> Exception:
    error: dict[str, Any] = session.error or NO_ERROR
    status = int(error.get("status", ERROR_STATUSES[session.state]))
    return error_from_dict(status, {**error, "training_session_id": session.id, "state": session.state})
