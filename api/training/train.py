"""Training: new records in, a judged version out; and what else changes models."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import request
from marshmallow import Schema, fields

from api.http.context import identity, manager
from api.http.idempotency import assign_session, has_idempotency_key
from api.http.request_body import read_json, read_json_or_csv
from api.http.resource import Resource, key_of
from api.http.schemas import DryRunQuery, OpenSchema, QueryFlag
from api.models.anomaly_report_schemas import TRAINING_BODY, TRAINING_BODY_OF_ANY_FAMILY
from api.training.statistics import TrainingStatisticsView, compute_statistics
from api.training.training_response import AcceptedView, TrainingView, accepted_response, build_response
from errors import InvalidContent, StorageFailed
from prediction import registry
from prediction.contract import ModelKey
from training_manager import TrainingOutcome

SCORING = ("scoring", "default")
POLL_SECONDS = 0.02
PREFER = {
    "in": "header",
    "name": "Prefer",
    "required": False,
    "schema": {"type": "string"},
    "description": "`respond-async`: answer 202 at once.",
}
STARTS_A_SESSION: dict[str, Any] = {
    "method": "POST",
    "role": "train",
    "headers": (PREFER,),
    "repeatable": False,
}
"""The facts that every route which starts a training session has in common."""

training = Resource("training", "Train models, and take training back.")


class WaitQuery(Schema):
    """Whether to wait for the end of the session."""

    respond_async = QueryFlag("Answer 202 at once; `Prefer: respond-async` does the same.", data_key="async")


class TrainingQuery(DryRunQuery, WaitQuery):
    """The query of a training request."""


class ReloadResult(Schema):
    """Every live worker has loaded its champions again, or why not."""

    success = fields.Boolean(required=True)
    message = fields.String(required=True)
    models_loaded = fields.Boolean(required=True)


class LastTraining(OpenSchema):
    """The last training of the scoring model."""

    timestamp = fields.String()
    records_added = fields.Integer()
    training_time = fields.Float(allow_none=True)
    models_retrained = fields.Integer()
    backup_path = fields.String(allow_none=True)
    success = fields.Boolean()


class TrainingStatus(OpenSchema):
    """What trains now, what trained last, and how often."""

    is_training = fields.Boolean(required=True)
    training_sessions_completed = fields.Integer(required=True)
    available_backups = fields.Integer(required=True)
    last_training = fields.Nested(LastTraining, required=True, allow_none=True)
    current_training = fields.Dict(allow_none=True)
    sessions = fields.Raw()


@training.serves(
    "/train",
    {200: TrainingView, 202: AcceptedView},
    query=TrainingQuery,
    body=TRAINING_BODY,
    **STARTS_A_SESSION,
)
def train_scoring(query: dict[str, Any]) -> Any:
    """Train the scoring model with new scored reports.

    ---
    1 to 1,000 records, `{"records": […], "options": {…}}`, or the rows of a CSV text. Nothing changes unless
    every record is valid.
    """
    return _trained(query, *SCORING)


@training.serves(
    "/train/<family:family>/<name>",
    {200: TrainingView, 202: AcceptedView},
    query=TrainingQuery,
    body=TRAINING_BODY_OF_ANY_FAMILY,
    **STARTS_A_SESSION,
)
def train_model(query: dict[str, Any], family: str, name: str) -> Any:
    """Train one model of one family.

    ---
    A family that trains from stored data takes its options as the body and answers 202, unless `?async=0`.
    """
    return _trained(query, family, name)


@training.serves("/train/status", {200: TrainingStatus})
def get_status() -> dict[str, Any]:
    """What trains now and what trained last."""
    return manager().status.read(identity().tenant)


@training.serves("/train/statistics", {200: TrainingStatisticsView})
def get_statistics() -> dict[str, Any]:
    """Sessions a month, records a session, training time, held-out quality, storage used by backups."""
    return compute_statistics(manager(), identity().tenant)


@training.serves("/train/reload", {200: ReloadResult}, method="POST", role="train", repeatable=False)
def reload_models() -> dict[str, Any]:
    """Load every champion again, in every worker, hashes checked."""
    failures = [
        f"worker {pid}: {error}" for pid, error in manager().worker_reload.reload_all().items() if error
    ]
    if failures:
        refusal = StorageFailed("Failed to reload models", models_loaded=False, reasons=failures)
        refusal.facts["message"] = refusal.message
        raise refusal
    return {"success": True, "message": "Models reloaded successfully", "models_loaded": True}


@training.serves(
    "/train/undo/<number:session_id>",
    {200: TrainingView, 202: AcceptedView},
    query=WaitQuery,
    **STARTS_A_SESSION,
)
def undo_session(query: dict[str, Any], session_id: int) -> Any:
    """Take one session's records out again and retrain, keeping later ones."""
    tenant = identity().tenant
    return _followed(lambda wait: manager().undo(session_id, tenant, wait=wait), query)


@training.serves(
    "/train/sessions/<number:session_id>/retry",
    {200: TrainingView, 202: AcceptedView},
    query=WaitQuery,
    **STARTS_A_SESSION,
)
def retry_session(query: dict[str, Any], session_id: int) -> Any:
    """Train again with the records of a session that failed or was interrupted."""
    tenant = identity().tenant
    return _followed(lambda wait: manager().retry(session_id, tenant, wait=wait), query)


def _trained(query: dict[str, Any], family: str, name: str) -> Any:
    key = key_of(family, name, identity().tenant)
    takes_records = registry.get_entry(family).takes_records
    records, options = _request_of(read_json_or_csv() if takes_records else read_json(), takes_records)
    if query["dry_run"]:
        return {"success": True, "dry_run": True, **manager().preview(key, records, options)}
    if not takes_records and "async" not in request.args:
        query = {**query, "respond_async": True}
    return _followed(lambda wait: manager().train(key, records, options, wait=wait), query, key)


def _request_of(document: Any, takes_records: bool) -> tuple[Any, Any]:
    """Records and options of either form of a training request."""
    if not isinstance(document, dict) or not {"records", "options"} & document.keys():
        return (document, {}) if takes_records else (None, document)
    unknown = sorted(document.keys() - {"records", "options"})
    if unknown:
        raise InvalidContent(f"Only records and options may stand here, not {', '.join(unknown)[:200]}")
    return document.get("records"), document.get("options") or {}


def _followed(
    start: Callable[[bool], TrainingOutcome], query: dict[str, Any], key: ModelKey | None = None
) -> Any:
    """Start a session and answer with its end, or at once where nobody wants to wait.

    Under an Idempotency-Key the session is named first: should this worker die, its end still is the answer.
    """
    patient = should_wait(query)
    outcome = start(patient and not has_idempotency_key())
    if outcome.session is None:
        return build_response(outcome, key)
    assign_session(outcome.session.id)
    return build_response(wait_for_end(outcome)) if patient else accepted_response(outcome.session)


def wait_for_end(outcome: TrainingOutcome) -> TrainingOutcome:
    """The outcome once its session has ended."""
    session = outcome.session
    while session is not None and not session.has_ended:
        time.sleep(POLL_SECONDS)
        session = manager().sessions.refresh(session)
        if session.has_ended:
            manager().worker_reload.refresh()
    return replace(outcome, session=session)


def should_wait(query: dict[str, Any]) -> bool:
    """Whether the caller wants to wait for the end of the session."""
    preferences = [said.strip().lower() for said in request.headers.get("Prefer", "").split(",")]
    return not (query["respond_async"] or "respond-async" in preferences)
