"""Kept predictions: list them, and explain one with the version of then."""

from __future__ import annotations

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.resource import Document, Query, Resource
from api.http.schemas import page, page_schema
from storage.db.kept_predictions import KeptPrediction, PredictionSummary
from training.services.kept_predictions import AnswerComparison

kept_predictions = Resource(
    "kept predictions", "What was predicted, by which version, and whether that still holds."
)


class KeptPredictionQuery(Schema):
    """Query parameters of the list of kept predictions."""

    limit = fields.Integer(load_default=50, validate=validate.Range(1, 1000))
    cursor = fields.String(
        validate=validate.Regexp(r"^[0-9a-f]{32}$"),
        metadata={"description": "next_cursor of the page before; without it the newest come first."},
    )


class KeptPredictionView(Schema):
    """One kept request."""

    prediction_id = fields.String(required=True)
    model = fields.String(required=True, metadata={"example": "scoring/default"})
    model_version = fields.Integer(required=True)
    created_at = fields.DateTime(required=True)
    inputs = fields.Integer(required=True, metadata={"description": "Number of inputs."})
    inputs_sha256 = fields.String(required=True)


class ComparisonView(Schema):
    """What a version answers now, beside what was answered then."""

    model_version = fields.Integer(required=True, allow_none=True)
    identical = fields.Boolean(
        required=True, allow_none=True, metadata={"description": "To the last bit; null: it cannot answer."}
    )
    reason = fields.String(required=True, allow_none=True)
    agrees = fields.Boolean(
        required=True,
        allow_none=True,
        metadata={"description": "The same classes and verdicts, and numbers within the stated uncertainty."},
    )
    differences = fields.List(fields.Dict(), required=True, metadata={"description": "The largest."})


class ExplainedPredictionView(KeptPredictionView):
    """A kept prediction with its reproduction."""

    predictions = fields.List(fields.Dict(), required=True)
    training = fields.Dict(
        required=True,
        metadata={"description": "Session, rows, first and last time of the data, parts of the split."},
    )
    evidence = fields.List(
        fields.List(fields.Dict()),
        required=True,
        allow_none=True,
        metadata={"description": "The nearest past cases of the first inputs; null: the family shows none."},
    )
    reproduction = fields.Nested(ComparisonView, required=True)
    champion = fields.Nested(ComparisonView, required=True)


@kept_predictions.operation("/predictions", {200: page_schema(KeptPredictionView)}, query=KeptPredictionQuery)
def list_predictions(query: Query) -> ResponseReturnValue:
    """List kept predictions, the newest first."""
    limit = query["limit"]
    rows = manager().kept_predictions.page(identity().tenant, limit + 1, query.get("cursor"))
    shown = rows[:limit]
    return page([_summarize(row) for row in shown], shown[-1].id if len(rows) > limit else None)


@kept_predictions.operation("/predictions/<prediction_id>", {200: ExplainedPredictionView})
def get_prediction(prediction_id: str) -> ResponseReturnValue:
    """Explain one: answer it again with the version of then and with today's champion."""
    explained = manager().kept_predictions.explain(identity().tenant, prediction_id)
    return {
        **_summarize(explained.kept),
        "predictions": list(explained.answers),
        "training": explained.training,
        "evidence": explained.evidence,
        "reproduction": _comparison_to_dict(explained.reproduction),
        "champion": _comparison_to_dict(explained.champion),
    }


def _summarize(row: PredictionSummary | KeptPrediction) -> Document:
    return {
        "prediction_id": row.id,
        "model": f"{row.family}/{row.name}",
        "model_version": row.version,
        "created_at": row.created_at,
        "inputs": row.count,
        "inputs_sha256": row.inputs_sha256,
    }


def _comparison_to_dict(comparison: AnswerComparison) -> Document:
    return {
        "model_version": comparison.version,
        "identical": comparison.identical,
        "reason": comparison.reason or None,
        "agrees": comparison.agrees,
        "differences": list(comparison.differences),
    }
