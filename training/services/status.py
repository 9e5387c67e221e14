"""What GET /train/status tells: the guide's fields of its one model, other models' sessions beside them."""

from __future__ import annotations

from pathlib import Path

from prediction import registry
from prediction.contract import JSON, ModelKey
from storage.container import Storage
from storage.db.sessions import STORED_STATES, Session
from training.services.sessions import SessionService, model_key

GUIDE = "scoring"
"""The family whose default model the training guide speaks of."""

_SHOWN = 20


def status_of(storage: Storage, sessions: SessionService, tenant: str) -> JSON:
    """The status as a tenant may see it."""
    key = ModelKey(GUIDE, tenant=tenant)
    sessions.sweep()
    running = storage.sessions.list_live(tenant)
    current = next((session for session in running if model_key(session) == key), None)
    last = storage.sessions.last(tenant, key.family, key.name)
    return {
        "is_training": current is not None,
        "training_sessions_completed": storage.sessions.count_completed(tenant, key.family, key.name),
        "available_backups": len([b for b in storage.backups.list() if b.belongs_to(tenant)]),
        "last_training": _last(last, storage.settings.data_dir) if last else None,
        "sessions": [_other(s) for s in storage.sessions.list(tenant, limit=_SHOWN) if model_key(s) != key],
        **({"current_training": _current(current)} if current else {}),
    }


def _last(session: Session, data_dir: Path) -> JSON:
    stored = session.state in STORED_STATES
    return {
        "timestamp": _time(session),
        "records_added": session.records_added,
        "training_time": session.training_time_seconds,
        "models_retrained": len(registry.get_entry(session.family).targets) if stored else 0,
        "backup_path": session.backup,
        "success": stored,
        "state": session.state,
        "training_session_id": session.id,
    }


def _current(session: Session) -> JSON:
    return {
        "training_session_id": session.id,
        "model": str(model_key(session)),
        "stage": session.stage or session.state,
        "progress_pct": session.progress_pct or 0,
        "started": (session.started_at or session.created_at).isoformat(),
    }


def _other(session: Session) -> JSON:
    return {
        "training_session_id": session.id,
        "model": str(model_key(session)),
        "state": session.state,
        "stage": session.stage,
        "progress_pct": session.progress_pct,
        "timestamp": _time(session),
    }


def _time(session: Session) -> str:
    return (session.ended_at or session.created_at).isoformat()
