"""What training has done over time: sessions a month, records, durations, held-out quality, storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from marshmallow import Schema, fields

from storage.backups.backup import Backup
from storage.db.sessions import STORED_STATES, Session
from training_manager import TrainingManager

NEWEST = 1000


class MonthView(Schema):
    """The sessions of one month."""

    month = fields.String(required=True, metadata={"example": "2024-12"})
    sessions = fields.Integer(required=True)
    records_added = fields.Integer(required=True)


class QualityView(Schema):
    """The held-out quality after one session."""

    training_session_id = fields.Integer(required=True)
    model = fields.String(required=True)
    ended = fields.DateTime(required=True)
    version = fields.Integer(required=True, allow_none=True)
    promoted = fields.Boolean(required=True, allow_none=True)
    records_added = fields.Integer(required=True)
    training_time_seconds = fields.Float(required=True, allow_none=True)
    headline = fields.Float(required=True, allow_none=True)
    metrics = fields.Dict(required=True)


class TrainingStatisticsView(Schema):
    """Figures over the newest 1,000 sessions."""

    sessions_by_state = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    sessions_per_month = fields.List(fields.Nested(MonthView), required=True)
    records_added_total = fields.Integer(required=True)
    records_added_per_session = fields.Float(required=True, allow_none=True)
    median_training_time_seconds = fields.Float(required=True, allow_none=True)
    quality = fields.List(fields.Nested(QualityView), required=True)
    backups = fields.Dict(required=True)


def compute_statistics(manager: TrainingManager, tenant: str) -> dict[str, Any]:
    """The figures of one tenant, oldest first where there is an order."""
    newest_first = manager.sessions.list(tenant, limit=NEWEST)
    sessions = list(reversed(newest_first))
    stored = [session for session in sessions if session.state in STORED_STATES]
    added = [session.records_added for session in stored]
    seconds = [s.training_time_seconds for s in stored if s.training_time_seconds is not None]
    return {
        "sessions_by_state": dict(Counter(session.state for session in sessions)),
        "sessions_per_month": _months(stored),
        "records_added_total": sum(added),
        "records_added_per_session": sum(added) / len(added) if added else None,
        "median_training_time_seconds": median(seconds) if seconds else None,
        "quality": [_quality(session) for session in stored],
        "backups": _used(manager.storage.backups.list(), tenant),
    }


def _months(stored: Sequence[Session]) -> list[dict[str, Any]]:
    sessions: Counter[str] = Counter()
    records: Counter[str] = Counter()
    for session in stored:
        month = f"{session.ended_at or session.created_at:%Y-%m}"
        sessions[month] += 1
        records[month] += session.records_added
    return [{"month": m, "sessions": sessions[m], "records_added": records[m]} for m in sorted(sessions)]


def _quality(session: Session) -> dict[str, Any]:
    return {
        "training_session_id": session.id,
        "model": f"{session.family}/{session.name}",
        "ended": session.ended_at or session.created_at,
        "version": session.version,
        "promoted": session.promoted,
        "records_added": session.records_added,
        "training_time_seconds": session.training_time_seconds,
        "headline": session.metrics.get("headline"),
        "metrics": session.metrics.get("metrics") or {},
    }


def _used(backups: Sequence[Backup], tenant: str) -> dict[str, int]:
    mine = [backup for backup in backups if backup.belongs_to(tenant)]
    return {"count": len(mine), "size_bytes": sum(backup.size_bytes for backup in mine)}
