"""Predictions: one record, a list or a CSV text in; one answer each out, all from one version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Response
from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.json_provider import json_response
from api.http.request_body import read_file, read_json_or_csv
from api.http.resource import Resource, key_of
from api.http.schemas import OpenSchema
from api.models.anomaly_report_schemas import PREDICTION_BODY, PREDICTION_BODY_OF_ANY_FAMILY
from api.models.suggestions import describe_unknown_model
from api.operations.metrics import PREDICTIONS
from errors import NoChampion
from prediction import registry
from prediction.contract import ModelKey, RecordBatch
from prediction.serving import LoadedModel
from storage.db.sessions import Session

SCORING = ("scoring", "default")
VERSION_HEADER = "X-Model-Version"

predictions = Resource("predictions", "Ask the champions.")


class PredictionQuery(Schema):
    """What to tell beside the scores."""

    evidence = fields.Integer(
        validate=validate.Range(0, 50), metadata={"description": "How many similar past reports to show."}
    )
    coverage = fields.Float(
        validate=validate.Range(0.5, 0.99), metadata={"description": "Promised coverage of conformal sets."}
    )
    degradation_threshold = fields.Float(
        metadata={"description": "Forecasts: tell when `degradation`, or else each target, crosses it."}
    )
    sampling_rate_hz = fields.Float(
        validate=validate.Range(1e-6, 1e9),
        metadata={"description": "Of a recording that does not tell it."},
    )


class PredictedScoreView(OpenSchema):
    """One score from 1 to 5."""

    score = fields.Float(required=True)
    probabilities = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)
    conformal_set = fields.List(fields.Integer(), required=True)
    coverage = fields.Float(required=True)


class SimilarReportView(OpenSchema):
    """A similar past report."""

    anomaly_id = fields.String(allow_none=True)
    description = fields.String(required=True)
    date = fields.String(required=True, allow_none=True)
    scores = fields.Dict(required=True)
    similarity = fields.Float(required=True)


class PredictedReportView(OpenSchema):
    """The prediction for one report."""

    anomaly_id = fields.String(required=True, allow_none=True)
    scores = fields.Dict(keys=fields.String(), values=fields.Nested(PredictedScoreView), required=True)
    overall = fields.Float(required=True)
    evidence = fields.List(fields.Nested(SimilarReportView))


class PredictionView(OpenSchema):
    """Predictions of any family, in the order asked."""

    success = fields.Boolean(required=True)
    model = fields.String(required=True)
    model_version = fields.Integer(required=True)
    predictions = fields.List(fields.Dict(), required=True)
    ignored_fields = fields.List(fields.String(), required=True)
    warnings = fields.List(fields.String())


class ScoringPredictionView(PredictionView):
    """Predictions of the scoring model."""

    predictions = fields.List(fields.Nested(PredictedReportView), required=True)


@predictions.serves(
    "/predict",
    {200: ScoringPredictionView},
    method="POST",
    query=PredictionQuery,
    body=PREDICTION_BODY,
    errors=(409,),
)
def predict_scores(query: dict[str, Any]) -> Response:
    """Score one anomaly report, up to 6,000, or the rows of a CSV text."""
    return _predicted(query, *SCORING)


@predictions.serves(
    "/predict/<family:family>/<name>",
    {200: PredictionView},
    method="POST",
    query=PredictionQuery,
    body=PREDICTION_BODY_OF_ANY_FAMILY,
    errors=(409,),
)
def predict_with_model(query: dict[str, Any], family: str, name: str) -> Response:
    """Ask one model of one family.

    ---
    A family that takes files (damage) reads a recording from a CSV or WAV body or the multipart field `file`.
    """
    return _predicted(query, family, name)


def _predicted(query: dict[str, Any], family: str, name: str) -> Response:
    key = key_of(family, name, identity().tenant)
    storage = manager().storage
    registry.open_data_source(family, storage.settings.data_dir, storage.database).check_key(key)
    upload = read_file() if registry.get_entry(family).takes_files else None
    batch = registry.create_parser(family).parse_inputs(read_json_or_csv() if upload is None else upload)
    batch, live, answers = predict_batch(key, batch, query)
    response = json_response(
        {
            "success": True,
            "model": str(key),
            "model_version": live.number,
            "predictions": [
                {"anomaly_id": record.get("anomaly_id") or None, **answer}
                for record, answer in zip(batch.records, answers, strict=True)
            ],
            "ignored_fields": batch.ignored_fields,
            "warnings": batch.warnings,
        }
    )
    response.headers[VERSION_HEADER] = str(live.number)
    return response


def predict_batch(
    key: ModelKey, batch: RecordBatch, query: dict[str, Any]
) -> tuple[RecordBatch, LoadedModel, list[dict[str, Any]]]:
    """The inputs with what the tenant has stored for them and every warning, who answers, one answer each."""
    storage = manager().storage
    live = _champion(key)
    batch = registry.open_data_source(key.family, storage.settings.data_dir, storage.database).resolve_inputs(
        key, batch
    )
    answers = live.predictor.predict(batch.records, query)
    PREDICTIONS.labels(key.tenant, key.family).inc(len(answers))
    manager().predictions.add(key, live, answers)
    if live.fallback_warning:
        batch = replace(batch, warnings=[live.fallback_warning, *batch.warnings])
    return batch, live, answers


def _champion(key: ModelKey) -> LoadedModel:
    """What answers for this model; where nothing does, its data files or its last session say why."""
    try:
        return manager().live.current(key)
    except NoChampion as error:
        last = manager().storage.sessions.last(key.tenant, key.family, key.name)
        problem = manager().data_files.problem(key)
        said = f"{key} has no champion: its training data cannot be read" if problem else ""
        said = said or describe_unknown_model(key) or error.message
        told = [problem] if problem else _reasons(last) if last else []
        raise NoChampion(said, model=str(key), reasons=told) from error


def _reasons(last: Session) -> list[str]:
    """Why there is no champion after this session: what spoke for a version explains nothing."""
    if last.promoted:
        told = f"Session {last.id} promoted a version, but it has gone since: it was deleted, or taken back"
        return [f"{told} by a restore"]
    return last.reasons or [last.message or last.state]
