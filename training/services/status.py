"""The answer of GET /train/status: the guide's fields of its one model, then the other models' sessions."""

from __future__ import annotations

from typing import Any, Final

from prediction import registry
from prediction.contract import ModelKey
from storage.db.sessions import Session, SessionSummary
from training.services.backups import BackupService
from training.services.data_health import DataHealth, describe_frozen
from training.services.sessions import SessionService, model_key

# The family whose default model the training guide describes.
GUIDE_FAMILY: Final = "scoring"

_MAX_SESSIONS: Final = 20


class StatusService:
    """The summary of a tenant's trainings."""

    def __init__(self, sessions: SessionService, backups: BackupService, data_health: DataHealth) -> None:
        self._sessions = sessions
        self._backups = backups
        self._data_health = data_health

    def read(self, tenant: str) -> dict[str, Any]:
        """Return the status as a tenant may see it."""
        key, sessions = ModelKey(GUIDE_FAMILY, tenant=tenant), self._sessions
        current = next((session for session in sessions.running(tenant) if model_key(session) == key), None)
        last, frozen = sessions.last(key), self._data_health.frozen(key)
        waiting = [batch for model in self._data_health.all_waiting(tenant) for batch in model.to_dicts()]
        recent = [s for s in sessions.list_summaries(tenant, limit=_MAX_SESSIONS) if model_key(s) != key]
        return {
            "is_training": current is not None,
            "training_sessions_completed": sessions.count_completed(key),
            "available_backups": len(self._backups.list(tenant)),
            "last_training": describe_last_training(last) if last else None,
            "sessions": [describe_other_session(session) for session in recent],
            # Only where there is something to say: the client's guide knows none of these fields.
            **({"current_training": describe_current_training(current)} if current else {}),
            **({"quarantine": waiting} if waiting else {}),
            **({"frozen": describe_frozen(frozen, self._data_health.waiting(key))} if frozen else {}),
        }


def describe_last_training(session: Session) -> dict[str, object]:
    """Return the last training as ``GET /train/status`` shows it."""
    promoted = session.state == "completed"
    return {
        "timestamp": _last_change(session),
        "records_added": session.records_added,
        "training_time": session.training_time_seconds,
        "models_retrained": len(registry.get_entry(session.family).targets) if promoted else 0,
        "backup_path": session.backup,
        "success": promoted,
        "state": session.state,
        "training_session_id": session.id,
    }


def describe_current_training(session: Session) -> dict[str, object]:
    """Return the running training as ``GET /train/status`` shows it."""
    return {
        "training_session_id": session.id,
        "model": str(model_key(session)),
        "stage": session.stage or session.state,
        "progress_pct": session.progress_pct or 0,
        "started": (session.started_at or session.created_at).isoformat(),
    }


def describe_other_session(session: SessionSummary) -> dict[str, object]:
    """Return another running session as ``GET /train/status`` shows it."""
    return {
        "training_session_id": session.id,
        "model": str(model_key(session)),
        "state": session.state,
        "stage": session.stage,
        "progress_pct": session.progress_pct,
        "timestamp": _last_change(session),
    }


def _last_change(session: SessionSummary) -> str:
    return (session.ended_at or session.created_at).isoformat()
