"""The answer of GET /train/status: the guide's fields of its one model, then the other models' sessions."""

from __future__ import annotations

from typing import Final

from prediction import registry
from prediction.contract import JSON, ModelKey
from storage.db.sessions import STORED_STATES, Session
from training.services.backups import BackupService
from training.services.sessions import SessionService, model_key

GUIDE_FAMILY: Final = "scoring"
"""The family whose default model the training guide describes."""

_MAX_SESSIONS: Final = 20


def get_status(sessions: SessionService, backups: BackupService, tenant: str) -> JSON:
    """Return the status as a tenant may see it."""
    key = ModelKey(GUIDE_FAMILY, tenant=tenant)
    current = next((session for session in sessions.running(tenant) if model_key(session) == key), None)
    last = sessions.last(key)
    recent = [s for s in sessions.list(tenant, limit=_MAX_SESSIONS) if model_key(s) != key]
    return {
        "is_training": current is not None,
        "training_sessions_completed": sessions.count_completed(key),
        "available_backups": len(backups.list(tenant)),
        "last_training": _last_training(last) if last else None,
        "sessions": [_other_session(session) for session in recent],
        **({"current_training": _current_training(current)} if current else {}),
    }


def _last_training(session: Session) -> JSON:
    stored = session.state in STORED_STATES
    return {
        "timestamp": _last_change(session),
        "records_added": session.records_added,
        "training_time": session.training_time_seconds,
        "models_retrained": len(registry.get_entry(session.family).targets) if stored else 0,
        "backup_path": session.backup,
        "success": stored,
        "state": session.state,
        "training_session_id": session.id,
    }


def _current_training(session: Session) -> JSON:
    return {
        "training_session_id": session.id,
        "model": str(model_key(session)),
        "stage": session.stage or session.state,
        "progress_pct": session.progress_pct or 0,
        "started": (session.started_at or session.created_at).isoformat(),
    }


def _other_session(session: Session) -> JSON:
    return {
        "training_session_id": session.id,
        "model": str(model_key(session)),
        "state": session.state,
        "stage": session.stage,
        "progress_pct": session.progress_pct,
        "timestamp": _last_change(session),
    }


def _last_change(session: Session) -> str:
    return (session.ended_at or session.created_at).isoformat()
