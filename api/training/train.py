"""Training: new records in, an evaluated version out; and what else changes models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields

from api.http.context import identity, manager
from api.http.idempotency import assign_session
from api.http.request_body import read_json, read_json_or_table
from api.http.resource import Query, Resource, model_key
from api.http.schemas import DryRunQuery, OpenSchema, TableBodyQuery
from api.models.request_bodies import ANY_FAMILY_TRAINING_BODY, TRAINING_BODY
from api.training.training_response import (
    AcceptedView,
    TrainingView,
    WaitingBatchView,
    accepted_response,
    build_response,
)
from api.training.waiting import STARTS_A_SESSION, WaitQuery, respond_at_end, should_wait
from errors import InvalidContent, StorageFailed
from prediction import registry
from prediction.contract import ModelKey
from training_manager import TrainingOutcome

training = Resource("training", "Train models, and take training back.")


class TrainingQuery(DryRunQuery, WaitQuery, TableBodyQuery):
    """The query of a training request."""


class ReloadResult(Schema):
    """Every live worker has loaded again what it holds in memory, or why not."""

    success = fields.Boolean(required=True)
    message = fields.String(required=True)
    models_loaded = fields.Boolean(required=True)
    models = fields.List(
        fields.String(),
        metadata={
            "description": "Champions that the worker that answers holds in memory and has loaded again."
        },
    )
    workers = fields.List(
        fields.Integer(),
        metadata={
            "description": "Process ids of the workers that have loaded again what they hold in memory."
        },
    )


class LastTrainingView(OpenSchema):
    """The last training of the scoring model."""

    timestamp = fields.String()
    records_added = fields.Integer()
    training_time = fields.Float(allow_none=True)
    models_retrained = fields.Integer()
    backup_path = fields.String(allow_none=True)
    success = fields.Boolean()


class TrainingStatusView(OpenSchema):
    """What trains now, what trained last, and how often."""

    is_training = fields.Boolean(required=True)
    training_sessions_completed = fields.Integer(required=True)
    available_backups = fields.Integer(required=True)
    last_training = fields.Nested(LastTrainingView, required=True, allow_none=True)
    current_training = fields.Dict(allow_none=True)
    quarantine = fields.List(
        fields.Nested(WaitingBatchView),
        metadata={"description": "Records of all models that wait in quarantine; absent if none do."},
    )
    sessions = fields.Raw()


@training.operation(
    "/train",
    {200: TrainingView, 202: AcceptedView},
    query=TrainingQuery,
    body=TRAINING_BODY,
    **STARTS_A_SESSION,
)
def train_default(query: Query) -> ResponseReturnValue:
    """Train the scoring model with new scored reports.

    ---
    1 to 1,000 records, `{"records": […], "options": {…}}`, or the rows of a table. Nothing changes unless
    every record is valid.
    """
    return _train(query, ModelKey(registry.DEFAULT_FAMILY, tenant=identity().tenant))


@training.operation(
    "/train/<family:family>/<name>",
    {200: TrainingView, 202: AcceptedView},
    query=TrainingQuery,
    body=ANY_FAMILY_TRAINING_BODY,
    **STARTS_A_SESSION,
)
def train_model(query: Query, family: str, name: str) -> ResponseReturnValue:
    """Train one model of one family.

    ---
    A family that trains from stored data takes its options as the body and answers 202, unless `?async=0`.
    """
    return _train(query, model_key(family, name, identity().tenant))


@training.operation("/train/status", {200: TrainingStatusView})
def get_status() -> ResponseReturnValue:
    """Return what trains now and what trained last."""
    return manager().status.read(identity().tenant)


@training.operation("/train/reload", {200: ReloadResult}, method="POST", role="train", idempotent=True)
def reload_models() -> ResponseReturnValue:
    """Let every worker check the hashes of the champions in its memory and load them again.

    ---
    A champion that no request has asked for since the start is in no memory: the first request loads it. Only models of
    the key's tenant are named, and only they make it fail.
    """
    tenant = identity().tenant
    errors = manager().worker_reload.reload_all(tenant=tenant)
    failures = [f"worker {pid}: {error}" for pid, error in errors.items() if error]
    if not failures:  # champions that no worker has in memory: a rule or nobody answers for them
        damaged = manager().champions.damaged(tenant)
        failures = [f"{record.family}/{record.name}: {record.error}" for record in damaged]
    if failures:
        # The guide's clients read `message`, all others `error`.
        error = StorageFailed("Failed to reload models", models_loaded=False, reasons=failures)
        error.facts["message"] = error.message
        raise error
    loaded = sorted(key for key in manager().model_cache.loaded() if key.tenant == tenant)
    return {
        "success": True,
        "message": "Models reloaded successfully",
        "models_loaded": True,
        "models": list(map(str, loaded)),
        "workers": sorted(errors),
    }


@training.operation(
    "/train/undo/<number:session_id>",
    {200: TrainingView, 202: AcceptedView},
    query=WaitQuery,
    **STARTS_A_SESSION,
)
def undo_session(query: Query, session_id: int) -> ResponseReturnValue:
    """Take one session's records out again and retrain, keeping later ones."""
    tenant = identity().tenant
    return _run_or_accept(lambda wait: manager().undo(session_id, tenant, wait=wait), query)


@training.operation(
    "/train/sessions/<number:session_id>/retry",
    {200: TrainingView, 202: AcceptedView},
    query=WaitQuery,
    **STARTS_A_SESSION,
)
def retry_session(query: Query, session_id: int) -> ResponseReturnValue:
    """Train again with the records of a session that failed or was interrupted."""
    tenant = identity().tenant
    return _run_or_accept(lambda wait: manager().retry(session_id, tenant, wait=wait), query)


def _train(query: Query, key: ModelKey) -> ResponseReturnValue:
    entry = registry.get_entry(key.family)
    document = read_json_or_table(query["date_order"], query["sheet"]) if entry.takes_records else read_json()
    records, options = _split_request(document, entry.takes_records)
    if query["dry_run"]:
        return {"success": True, "dry_run": True, **manager().preview(key, records, options)}
    if not entry.is_quick and "async" not in request.args:
        query = {**query, "respond_async": True}
    return _run_or_accept(lambda wait: manager().train(key, records, options, wait=wait), query, key)


def _split_request(document: object, takes_records: bool) -> tuple[object, Any]:
    """Return the records and the options of either form of a training request."""
    if not isinstance(document, dict) or not {"records", "options"} & document.keys():
        return (document, {}) if takes_records else (None, document)
    unknown = sorted(document.keys() - {"records", "options"})
    if unknown:
        raise InvalidContent(f"Unknown fields: {', '.join(unknown)[:200]} (allowed: records, options)")
    options = document.get("options")
    if options is None:
        options = {}
    if not isinstance(options, dict):
        raise InvalidContent('options must be an object, such as {"seed": 42}')
    return document.get("records"), options


def _run_or_accept(
    start: Callable[[bool], TrainingOutcome], query: Query, key: ModelKey | None = None
) -> ResponseReturnValue:
    """Start a session and respond with its end, or at once where the caller does not wait."""
    wait = should_wait(query)
    # The session is recorded under an Idempotency-Key before the wait: should this worker die meanwhile, the next
    # request with the key gets the session's end.
    outcome = start(False)
    if outcome.session is None:
        return build_response(outcome, key)
    assign_session(outcome.session.id)
    return respond_at_end(outcome) if wait else accepted_response(outcome.session)
