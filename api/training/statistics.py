"""Training over time: sessions per month, records, durations, held-out quality, storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields

from api.http.context import identity, manager
from api.http.resource import Document, Resource
from api.training.waiting import wait_for_job
from errors import MillwrightError
from prediction import registry
from prediction.contract import ModelKey, RaterAgreement
from storage.db.sessions import STORED_STATES, SessionSummary

MAX_SESSIONS = 1000

statistics = Resource("statistics", "Training over time.")


class MonthView(Schema):
    """The sessions of one month."""

    month = fields.String(required=True, metadata={"example": "2024-12"})
    sessions = fields.Integer(required=True)
    records_added = fields.Integer(required=True)


class QualityView(Schema):
    """The held-out quality after one session."""

    training_session_id = fields.Integer(required=True)
    model = fields.String(required=True)
    ended_at = fields.DateTime(required=True)
    version = fields.Integer(required=True, allow_none=True)
    promoted = fields.Boolean(required=True, allow_none=True)
    records_added = fields.Integer(required=True)
    training_time_seconds = fields.Float(required=True, allow_none=True)
    headline = fields.Float(required=True, allow_none=True)
    metrics = fields.Dict(required=True)


class ScoreAgreementView(Schema):
    """One score of a rater beside what others gave the most similar records."""

    compared = fields.Integer(required=True)
    same = fields.Float(
        required=True, allow_none=True, metadata={"description": "The share with the same level."}
    )
    mean_difference = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "Above zero where the rater scores higher than the others."},
    )


class RaterView(Schema):
    """How one rater, or one source, agrees with the others."""

    name = fields.String(required=True)
    records = fields.Integer(required=True)
    in_quarantine = fields.Integer(required=True)
    agreement = fields.Dict(keys=fields.String(), values=fields.Nested(ScoreAgreementView), required=True)


class TrainingStatisticsView(Schema):
    """Figures over the newest 1,000 sessions."""

    sessions_by_state = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    sessions_per_month = fields.List(fields.Nested(MonthView), required=True)
    records_added_total = fields.Integer(required=True)
    records_added_per_session = fields.Float(required=True, allow_none=True)
    median_training_time_seconds = fields.Float(required=True, allow_none=True)
    quality = fields.List(fields.Nested(QualityView), required=True)
    backups = fields.Dict(required=True)
    raters = fields.List(
        fields.Nested(RaterView),
        required=True,
        allow_none=True,
        metadata={"description": "The 100 with the most records; null where `raters_error` says why."},
    )
    sources = fields.List(fields.Nested(RaterView), required=True, allow_none=True)
    raters_error = fields.String()


@statistics.operation("/train/statistics", {200: TrainingStatisticsView})
def get_statistics() -> ResponseReturnValue:
    """Return sessions per month, records per session, training time, held-out quality, storage used by backups.

    ---
    The oldest comes first where there is an order. `raters` and `sources` say how those who scored the stored
    records agree with each other; after a change of the records they are measured again.
    """
    tenant = identity().tenant
    sessions = list(reversed(manager().sessions.list_summaries(tenant, limit=MAX_SESSIONS)))
    stored = [session for session in sessions if session.state in STORED_STATES]
    records_added = [session.records_added for session in stored]
    seconds = [s.training_time_seconds for s in stored if s.training_time_seconds is not None]
    backups = manager().backups.list(tenant)
    return {
        "sessions_by_state": dict(Counter(session.state for session in sessions)),
        "sessions_per_month": _count_per_month(stored),
        "records_added_total": sum(records_added),
        "records_added_per_session": sum(records_added) / len(stored) if stored else None,
        "median_training_time_seconds": median(seconds) if seconds else None,
        "quality": [_quality_to_dict(session) for session in stored],
        "backups": {"count": len(backups), "size_bytes": sum(backup.size_bytes for backup in backups)},
        **_measure_raters(tenant),
    }


def _measure_raters(tenant: str) -> Document:
    """Return raters and sources, or why they cannot be compared: the other statistics do not depend on it."""
    service, key = manager().rater_agreement, ModelKey(registry.DEFAULT_FAMILY, tenant=tenant)
    try:
        job = manager().jobs.start(f"raters-{tenant}", lambda: service.measure(key))
        if not wait_for_job(job):
            return {
                "raters": None,
                "sources": None,
                "raters_error": "They are being compared: ask again in a minute",
            }
        measured = job.result()
    except MillwrightError as error:
        return {"raters": None, "sources": None, "raters_error": error.message}
    return {
        f"{kind}s": [_rater_to_dict(rater) for rater in measured if rater.kind == kind]
        for kind in ("rater", "source")
    }


def _rater_to_dict(rater: RaterAgreement) -> Document:
    return {
        "name": rater.name,
        "records": rater.records,
        "in_quarantine": rater.quarantined,
        "agreement": {name: asdict(score) for name, score in rater.scores.items()},
    }


def _count_per_month(stored: Sequence[SessionSummary]) -> list[Document]:
    sessions: Counter[str] = Counter()
    records: Counter[str] = Counter()
    for session in stored:
        month = f"{session.ended_at or session.created_at:%Y-%m}"
        sessions[month] += 1
        records[month] += session.records_added
    return [{"month": m, "sessions": sessions[m], "records_added": records[m]} for m in sorted(sessions)]


def _quality_to_dict(session: SessionSummary) -> Document:
    return {
        "training_session_id": session.id,
        "model": f"{session.family}/{session.name}",
        "ended_at": session.ended_at or session.created_at,
        "version": session.version,
        "promoted": session.promoted,
        "records_added": session.records_added,
        "training_time_seconds": session.training_time_seconds,
        "headline": session.metrics.get("headline"),
        "metrics": session.metrics.get("metrics") or {},
    }
