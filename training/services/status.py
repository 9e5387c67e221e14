"""The answer of GET /train/status: the guide's fields of its one model, then the other models' sessions."""

from __future__ import annotations

from typing import Final, NotRequired, TypedDict

from prediction import registry
from prediction.contract import ModelKey
from storage.db.sessions import Session, SessionSummary
from training.services.backups import BackupService
from training.services.data_health import DataHealth, WaitingBatch, describe_frozen
from training.services.sessions import SessionService, model_key

# The family whose default model the training guide describes.
GUIDE_FAMILY: Final = "scoring"

_MAX_SESSIONS: Final = 20


class LastTraining(TypedDict):
    """The last training of the guide's model."""

    timestamp: str
    records_added: int | None
    training_time: float | None
    models_retrained: int
    backup_path: str | None
    success: bool
    state: str
    training_session_id: int


class CurrentTraining(TypedDict):
    """The running training of the guide's model."""

    training_session_id: int
    model: str
    stage: str
    progress_pct: float
    started: str


class OtherSession(TypedDict):
    """A session of another model."""

    training_session_id: int
    model: str
    state: str
    stage: str | None
    progress_pct: float | None
    timestamp: str


class TrainingStatus(TypedDict):
    """The answer of GET /train/status; the client's guide knows none of the fields that may be missing."""

    is_training: bool
    training_sessions_completed: int
    available_backups: int
    last_training: LastTraining | None
    sessions: list[OtherSession]
    current_training: NotRequired[CurrentTraining]
    quarantine: NotRequired[list[WaitingBatch]]
    frozen: NotRequired[str]


class StatusService:
    """The summary of a tenant's trainings."""

    def __init__(self, sessions: SessionService, backups: BackupService, data_health: DataHealth) -> None:
        self._sessions = sessions
        self._backups = backups
        self._data_health = data_health

    def read(self, tenant: str) -> TrainingStatus:
        """Return the status as a tenant may see it."""
        key, sessions = ModelKey(GUIDE_FAMILY, tenant=tenant), self._sessions
        current = next((session for session in sessions.running(tenant) if model_key(session) == key), None)
        last, frozen = sessions.last(key), self._data_health.frozen(key)
        waiting = [batch for model in self._data_health.all_waiting(tenant) for batch in model.to_dicts()]
        recent = [s for s in sessions.list_summaries(tenant, limit=_MAX_SESSIONS) if model_key(s) != key]
        status: TrainingStatus = {
            "is_training": current is not None,
            "training_sessions_completed": sessions.count_completed(key),
            "available_backups": len(self._backups.list(tenant)),
            "last_training": describe_last_training(last) if last else None,
            "sessions": [describe_other_session(session) for session in recent],
        }
        # Only where there is something to say: the client's guide knows none of these fields.
        if current:
            status["current_training"] = describe_current_training(current)
        if waiting:
            status["quarantine"] = waiting
        if frozen:
            status["frozen"] = describe_frozen(frozen, self._data_health.waiting(key))
        return status


def describe_last_training(session: Session) -> LastTraining:
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


def describe_current_training(session: Session) -> CurrentTraining:
    """Return the running training as ``GET /train/status`` shows it."""
    return {
        "training_session_id": session.id,
        "model": str(model_key(session)),
        "stage": session.stage or session.state,
        "progress_pct": session.progress_pct or 0,
        "started": (session.started_at or session.created_at).isoformat(),
    }


def describe_other_session(session: SessionSummary) -> OtherSession:
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
