"""The response to a training request that has ended, with the names of the client's guide."""

from __future__ import annotations

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields

from api.http.context import manager
from api.http.errors import error_from_dict
from api.http.resource import Document
from api.http.schemas import OpenSchema
from errors import MillwrightError
from prediction import registry
from prediction.contract import ModelKey
from storage.db.sessions import STORED_STATES, Session
from training.services.data_health import DataHealth
from training.services.sessions import model_key
from training_manager import TrainingOutcome

ERROR_STATUSES = {"failed": 500, "cancelled": 409, "interrupted": 503}


class WaitingBatchView(Schema):
    """Records of a session that no training reads until somebody accepts, corrects or undoes them."""

    model = fields.String(required=True, metadata={"example": "scoring/default"})
    training_session_id = fields.Integer(required=True)
    records = fields.Integer(required=True)
    since = fields.String(required=True, metadata={"description": "UTC", "example": "2026-11-20 20:02:53"})


class TrainingStatistics(Schema):
    """One session in numbers."""

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
    quarantine = fields.List(
        fields.Nested(WaitingBatchView),
        metadata={"description": "Records of this model that wait in quarantine now; absent if none do."},
    )


class AcceptedView(Schema):
    """A session that continues after the response."""

    success = fields.Boolean(required=True)
    message = fields.String(required=True)
    training_session_id = fields.Integer(required=True)
    is_training = fields.Boolean(required=True)
    state = fields.String(required=True)
    location = fields.String(required=True)


def build_response(
    outcome: TrainingOutcome, key: ModelKey | None = None, data_health: DataHealth | None = None
) -> Document:
    """Return the response to a training request that has ended.

    Parameters
    ----------
    key : ModelKey, optional
        The model that was named, where the outcome has no session.
    data_health : DataHealth, optional
        Of the home in which it trained, where no application serves it.

    Raises
    ------
    MillwrightError
        What the session recorded when it failed, was cancelled or interrupted.
    """
    session = outcome.session
    raise_failure(session)
    key = model_key(session) if session else key or ModelKey(registry.DEFAULT_FAMILY)
    parts, records_added = registry.get_entry(key.family).targets, session.records_added if session else 0
    waiting = (data_health or manager().data_health).waiting(key)
    return {
        "success": True,
        **(_describe_end(session) if session else _NOTHING_NEW),
        "statistics": {
            "total_records_added": records_added,
            "records_per_model": dict.fromkeys(parts, records_added),
            "training_time_seconds": session.training_time_seconds if session else 0.0,
            "models_retrained": dict.fromkeys(parts, bool(session and session.promoted)),
            "backup_location": session.backup if session else None,
        },
        "is_training": False,
        "model": str(key),
        "warnings": list(outcome.warnings),
        "ignored_fields": list(outcome.ignored_fields),
        "records_skipped": outcome.skipped,
        "corrections": outcome.corrections,
        # Only where there are any: the client's guide knows no such field.
        **({"quarantine": waiting.to_dicts()} if waiting else {}),
    }


_NOTHING_NEW: Document = {
    "message": "Nothing new: every record is already known, so nothing was trained",
    "training_session_id": None,
    "promoted": None,
}


def _describe_end(session: Session) -> Document:
    return {
        "message": session.message,
        "training_session_id": session.id,
        "state": session.state,
        "version": session.version,
        "promoted": session.promoted,
        "metrics": session.metrics,
        "reasons": session.reasons,
        # Only where there are any: the client's guide knows no such field.
        **({"records_in_quarantine": count} if (count := session.details.get("quarantined")) else {}),
    }


def raise_failure(session: Session | None) -> None:
    """Raise the error of a session that ended without a version; return where there is none."""
    if session is None or session.state in STORED_STATES:
        return
    error = session.error or {
        "code": "training_failed",
        "error": "The session did not end well; nothing has changed",
    }
    status = int(error.get("status", ERROR_STATUSES[session.state]))
    failure: MillwrightError = error_from_dict(
        status, {**error, "training_session_id": session.id, "state": session.state}
    )
    raise failure


def session_response(session: Session) -> ResponseReturnValue:
    """Return the response for a session by its present state: its end, or where to follow it."""
    return build_response(TrainingOutcome(session)) if session.has_ended else accepted_response(session)


def accepted_response(session: Session) -> tuple[Document, int, dict[str, str]]:
    """Return the 202 of a session that continues by itself."""
    location = f"/train/sessions/{session.id}"
    body: Document = {
        "success": True,
        "message": f"Training goes on; {location} tells how far it is",
        "training_session_id": session.id,
        "is_training": not session.has_ended,
        "state": session.state,
        "location": location,
    }
    return body, 202, {"Location": location, "Preference-Applied": "respond-async"}
