"""What a session reports: its manifest, its row in the database, its failure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import cast

from errors import MillwrightError, TrainingBusy, TrainingFailed
from prediction.contract import NewRecords, QuarantinedBatch
from storage.db.sessions import BatchItem, CandidateScores, LiveSessionFields
from storage.models.manifest import InfluenceRecord, Manifest
from training.context import Candidate, SessionContext, TrainingOutcome, TrainingRequest
from training.execution.ipc import nan_to_none
from training.execution.tasks import TrainResult
from training.gate import SEVERE_CASES


def nothing_new(request: TrainingRequest, selection: NewRecords, notes: list[str]) -> TrainingOutcome:
    """Return the outcome of a request whose records were all stored before."""
    warnings = [*request.batch.warnings, *selection.notes, *notes]
    ignored = list(request.batch.ignored_fields)
    return TrainingOutcome(None, selection.skipped, selection.corrections, warnings, ignored)


def request_details(
    request: TrainingRequest, selection: NewRecords, quarantined: Sequence[QuarantinedBatch]
) -> dict[str, object]:
    """Return what the session's row says of the request.

    Parameters
    ----------
    quarantined : sequence of QuarantinedBatch
        What waits. No fit of the session reads it, but for the batch that is accepted.
    """
    others = [batch for batch in quarantined if batch.session_id not in (request.undo_of, request.accept_of)]
    waiting = {
        "records": sum(batch.records for batch in others),
        "since": min((batch.since for batch in others), default=None),
        "sessions": [batch.session_id for batch in others],
    }
    details = {
        "undo_of": request.undo_of,
        "accept_of": request.accept_of,
        "accepted_by": request.accepted_by,
        "retry_of": request.retry_of,
        "records": len(selection.new) or None,
        "models": list(request.names) if request.names else None,
        "trigger_reasons": list(request.trigger_reasons) or None,
        "waiting": waiting if others else None,
    }
    return {name: value for name, value in details.items() if value is not None}


def manifest(session: SessionContext, candidate: Candidate, result: TrainResult) -> Manifest:
    """Return the manifest of a candidate, without its files."""
    champion, verdict = candidate.champion, candidate.verdict
    # The family does not know the number of the present session.
    influence = [
        replace(batch, session_id=batch.session_id or session.row.id)
        for batch in (result.impact.influence if result.impact else ())
    ]
    safer = result.severe.safer if result.severe else ()
    content: Manifest = {
        **result.describe(candidate.key.family, session.request.options),
        "model": {"family": candidate.key.family, "name": candidate.key.name, "tenant": candidate.key.tenant},
        "version": candidate.number,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "session_id": session.row.id,
        "kind": session.request.kind,
        "parent": champion.number if champion else None,
        "anchor": result.anchor,
        "influence": [cast("InfluenceRecord", asdict(batch)) for batch in influence],
        "accept_of": session.request.accept_of,
        "accepted_by": session.request.accepted_by,
        "safer_answers": [answer.to_dict() for answer in safer],
        "champion_metrics": result.champion_scores.to_dict() if result.champion_scores else None,
        "verdict": verdict.to_dict() if verdict else None,
        "figures": list(result.scores.figures),
        "seconds": result.seconds,
    }
    return nan_to_none(content)


def session_result(session: SessionContext, backup: str) -> LiveSessionFields:
    """Return what the session's row says in the end."""
    result = batch_result(session) if session.request.is_batch else model_result(session)
    return {
        **result,
        "state": "completed" if result["promoted"] else "rejected",
        "warnings": session.warnings,
        "backup": f"model_backups/{backup}",
        "training_time_seconds": round(time.monotonic() - session.started, 3),
        "progress_pct": 100,
    }


def is_quarantined(session: SessionContext) -> bool:
    """Return whether no later training may read the session's records until a person accepts them."""
    if session.request.is_batch or not session.selection.new:
        return False
    (candidate,) = session.ready
    return candidate.verdict is not None and candidate.verdict.blames_records


def is_release_refused(session: SessionContext) -> bool:
    """Return whether an accept leaves its records in quarantine, because nobody has put their name to it."""
    if session.request.accept_of is None:
        return False
    (candidate,) = session.ready
    return candidate.verdict is not None and any(
        check.name == SEVERE_CASES and not check.passed for check in candidate.verdict.checks
    )


def failure(session: SessionContext) -> MillwrightError:
    """Return the error of a session that made no version."""
    if not session.request.is_batch:
        (candidate,) = session.candidates
        if candidate.error is not None:
            return candidate.error
    items = _items(session)
    first = items[0]["error"] if items else "no models were named"
    message = f"Training failed: none of {len(items)} models was trained: {first}"
    return TrainingFailed(message, items=items)


def model_result(session: SessionContext) -> LiveSessionFields:
    """Return the result of a session of one model."""
    (candidate,) = session.ready
    assert candidate.verdict is not None and candidate.metrics is not None
    promoted, request = candidate.verdict.promoted, session.request
    quarantined = len(session.selection.new) if is_quarantined(session) else 0
    if request.undo_of is not None:
        message = f"The records of session {request.undo_of} were taken out; the new model has not seen them"
        if session.changes is not None and session.changes.notes:
            message = " ".join(session.changes.notes)
    elif is_release_refused(session):
        message = (
            f"The records of session {request.accept_of} stay in quarantine; the new model was not promoted"
        )
    elif request.accept_of is not None:
        message = f"The records of session {request.accept_of} were accepted; the new model has learnt them"
    elif promoted:
        message = "Incremental training completed successfully"
    elif quarantined:
        message = (
            "Training completed, but the new model was not promoted; the records are kept in quarantine and no "
            f"later training reads them: POST /train/sessions/{session.row.id}/accept learns them, "
            f"POST /train/undo/{session.row.id} removes them"
        )
    else:
        message = "Training completed, but the new model was not promoted; the records are kept"
    metrics = {
        **candidate.metrics,
        "champion": candidate.champion_headline,
        "parity_deviation": candidate.deviation,
    }
    return {
        "promoted": promoted,
        "reasons": candidate.verdict.reasons,
        "message": message,
        "version": candidate.number,
        "metrics": nan_to_none(metrics),
        "records_added": len(session.selection.new),
        "details": {**session.row.details, **({"quarantined": quarantined} if quarantined else {})},
        "corrections": session.selection.corrections,
    }


def batch_result(session: SessionContext) -> LiveSessionFields:
    """Return the result of a batch session."""
    items = _items(session)
    promoted = [item for item in items if item["state"] == "completed"]
    trained, weak = len(session.ready), sum(not item["metrics"]["beats_baselines"] for item in promoted)
    counts = {
        "models": len(items),
        "trained": trained,
        "promoted": len(promoted),
        "no_better_than_baselines": weak,
        "failed": len(items) - trained,
    }
    doubt = f"; {weak} of them no better than the simple rules beside them" if weak else ""
    return {
        "promoted": bool(promoted),
        "message": f"{trained} of {len(items)} models trained, {len(promoted)} promoted{doubt}",
        "metrics": counts,
        "details": {**session.row.details, **counts, "items": items},
    }


def _items(session: SessionContext) -> list[BatchItem]:
    """Return what a batch session says of each of its models."""
    items: list[BatchItem] = []
    for candidate in session.candidates:
        name, verdict, scores = candidate.key.name, candidate.verdict, candidate.metrics
        if candidate.error is not None or verdict is None or scores is None:
            error = candidate.error or TrainingFailed("Training failed")
            items.append({"name": name, "state": "failed", "error": error.message, "code": error.code})
        else:
            metrics: CandidateScores = {**scores, "parity_deviation": candidate.deviation}
            items.append(
                {
                    "name": name,
                    "state": "completed" if verdict.promoted else "rejected",
                    "version": candidate.number,
                    "reasons": verdict.reasons,
                    "metrics": nan_to_none(metrics),
                }
            )
    busy = TrainingBusy()
    for key in session.busy:
        items.append({"name": key.name, "state": "failed", "error": busy.message, "code": busy.code})
    return items
