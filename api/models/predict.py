"""Predictions: one record, a list or a CSV text in; one prediction for each, all from one version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flask import Response
from marshmallow import Schema, fields

from api.http.context import identity, load_champion, manager
from api.http.fields import InstantField
from api.http.json_provider import json_response
from api.http.request_body import read_file, read_json_or_table
from api.http.resource import Query, Resource, model_key
from api.http.schemas import OpenSchema, TableBodyQuery
from api.models.anomaly_report_schemas import PredictedReportView
from api.models.request_bodies import ANY_FAMILY_PREDICTION_BODY, PREDICTION_BODY
from api.models.suggestions import describe_unknown_model
from api.operations.metrics import PREDICTIONS
from errors import NoChampion
from prediction import registry
from prediction.contract import ModelKey, RecordBatch
from prediction.serving import LoadedModel
from storage.db.sessions import Session
from training.monitoring.prediction_archive import Receipt

VERSION_HEADER = "X-Model-Version"

predictions = Resource("predictions", "Ask the champions.")

# The query options of all families: one route serves them all, and families ignore what is not theirs.


class MomentQuery(Schema):
    """Which champion is asked."""

    at = InstantField(metadata={"description": "Ask the version that served at this time, not today's."})


PredictionQuery: type[Schema] = type(
    "PredictionQuery", (*registry.load_query_options(), MomentQuery, TableBodyQuery), {}
)


class PredictionView(OpenSchema):
    """Predictions of any family, in the order of the inputs."""

    success = fields.Boolean(required=True)
    model = fields.String(required=True)
    model_version = fields.Integer(required=True)
    predictions = fields.List(fields.Dict(), required=True)
    ignored_fields = fields.List(fields.String(), required=True)
    warnings = fields.List(fields.String())
    prediction_id = fields.String(
        allow_none=True, metadata={"description": "GET /predictions/<id> explains it; null: it is not kept."}
    )


class ReportPredictionView(PredictionView):
    """Predictions for anomaly reports."""

    predictions = fields.List(fields.Nested(PredictedReportView), required=True)


@dataclass(frozen=True)
class PredictionResult:
    """The predictions of one version for one batch.

    Parameters
    ----------
    batch : RecordBatch
        The inputs, completed by what is stored for the tenant, with every warning.
    """

    batch: RecordBatch
    version: int
    predictions: Sequence[Mapping[str, Any]]
    prediction_id: str | None = None


@predictions.operation(
    "/predict",
    {200: ReportPredictionView},
    method="POST",
    query=PredictionQuery,
    body=PREDICTION_BODY,
    errors=(404, 409),
)
def predict_default(query: Query) -> Response:
    """Score one anomaly report, up to 6,000, or the rows of a table."""
    return _respond(query, ModelKey(registry.DEFAULT_FAMILY, tenant=identity().tenant))


@predictions.operation(
    "/predict/<family:family>/<name>",
    {200: PredictionView},
    method="POST",
    query=PredictionQuery,
    body=ANY_FAMILY_PREDICTION_BODY,
    errors=(409,),
)
def predict_with_model(query: Query, family: str, name: str) -> Response:
    """Ask one model of one family.

    ---
    A family that takes files (damage) reads a recording from a CSV or WAV body or the multipart field `file`.
    """
    return _respond(query, model_key(family, name, identity().tenant))


def _respond(query: Query, key: ModelKey) -> Response:
    family = registry.get_entry(key.family)
    manager().data_source(key.family).check_key(key)
    upload = read_file() if family.takes_files else None
    inputs = read_json_or_table(query["date_order"], query["sheet"]) if upload is None else upload
    result = predict_batch(key, registry.parse_inputs(key.family, inputs), query)
    records = result.batch.records
    response = json_response(
        {
            "success": True,
            "model": str(key),
            "model_version": result.version,
            "predictions": [
                {"anomaly_id": record.get("anomaly_id") or None, **prediction}
                for record, prediction in zip(records, result.predictions, strict=True)
            ],
            "ignored_fields": result.batch.ignored_fields,
            "warnings": result.batch.warnings,
            "prediction_id": result.prediction_id,
        }
    )
    response.headers[VERSION_HEADER] = str(result.version)
    return response


def predict_batch(
    key: ModelKey, batch: RecordBatch, query: Mapping[str, object], *, is_recorded: bool = True
) -> PredictionResult:
    """Predict for a batch with the champion.

    Parameters
    ----------
    is_recorded : bool
        Whether to count, log and keep the predictions. An overview that asks about everything would push what
        somebody asked for out of the kept ones.

    Raises
    ------
    NoChampion
        No version serves; the reasons say why.
    """
    options = {name: value for name, value in query.items() if name not in ("at", "date_order")}
    moment = query.get("at")
    model = (
        manager().kept_predictions.champion_at(key, moment)
        if isinstance(moment, datetime)
        else _get_champion(key)
    )
    facts = model.manifest.get("facts") or {}
    batch = manager().data_source(key.family).resolve_inputs(key, batch, facts)
    predictions = model.predictor.predict(batch.records, options)
    receipt = Receipt(None)
    if is_recorded:
        PREDICTIONS.labels(key.tenant, key.family).inc(len(predictions))
        manager().predictions.add(key, model, predictions)
        receipt = manager().archive.keep(model, batch.records, options, predictions)
    waiting = manager().data_health.waiting(key) if moment is None else None
    notes = [*model.warnings, waiting.describe() if waiting else "", receipt.reason]
    notes = [note for note in notes if note]
    if notes:
        batch = replace(batch, warnings=[*notes, *batch.warnings])
    return PredictionResult(batch, model.number, predictions, receipt.id)


def _get_champion(key: ModelKey) -> LoadedModel:
    """Return the model that serves; where there is none, its data files or its last session say why."""
    try:
        return load_champion(key)
    except NoChampion as error:
        last_session = manager().sessions.last(key)
        problem = manager().data_health.problem(key)
        if problem:
            message, reasons = f"{key} has no champion: its training data cannot be read", [problem]
        else:
            message = describe_unknown_model(key) or error.message
            reasons = _explain_session(last_session) if last_session else []
        raise NoChampion(message, model=str(key), reasons=reasons) from error


def _explain_session(session: Session) -> list[str]:
    """Return why there is no champion after this session."""
    if session.promoted:
        # The reasons of a promotion speak for the version, and would explain nothing.
        return [
            f"Session {session.id} promoted a version, but it has gone since: it was deleted, or taken back "
            "by a restore"
        ]
    return session.reasons or [session.message or session.state]
