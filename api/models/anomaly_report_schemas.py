"""Anomaly reports and their predictions, as /openapi.json describes them.

These schemas describe only: the scoring family's request parser is what checks reports.
"""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from api.http.fields import PRINTABLE
from api.http.schemas import OpenSchema
from prediction.scoring.requests.record_validation import (
    MAX_DESCRIPTION_LENGTH,
    MAX_TEXT_LENGTH,
    SCORE_FIELDS,
)

# Some character that is no blank, for Python as for JavaScript, whose \s knows fewer of them.
_NOT_BLANK = validate.Regexp(r"[^\s\x1c-\x1f\x85]")
_SCORES = Schema.from_dict(
    {name: fields.Float(required=True, validate=validate.Range(1, 5)) for name in SCORE_FIELDS}
)


def _text(description: str, max_length: int = MAX_TEXT_LENGTH, required: bool = False) -> fields.String:
    checks: list[validate.Validator] = [validate.Length(1 if required else 0, max_length)]
    if required:
        checks.append(_NOT_BLANK)
    return fields.String(
        required=required, allow_none=not required, validate=checks, metadata={"description": description}
    )


class ReportInput(Schema):
    """One anomaly report to be scored. Further fields are ignored and listed."""

    class Meta:
        unknown = "include"

    description = _text(
        "What was seen; 50 words or more make better predictions.", MAX_DESCRIPTION_LENGTH, True
    )
    anomaly_id = _text("Comes back beside the prediction.")
    equipment_name = _text("What the equipment is.")
    equipment_id = _text("The equipment's number.")
    system = _text("The system it belongs to.")
    owner_section = _text("The section that owns it.")
    source = _text("Where the report comes from: a system, a document, an import.")
    detected_at = fields.Raw(
        metadata={
            "anyOf": [{"type": "string", "format": "date-time"}, {"enum": ["", None]}],
            "description": "When it was seen; now, where it is missing. A time without offset is UTC.",
        }
    )


class ScoredReportInput(ReportInput, _SCORES):  # type: ignore[valid-type, misc]
    """One anomaly report with the three scores an expert gave it."""

    anomaly_id = fields.String(
        required=True,
        validate=[validate.Length(1, MAX_TEXT_LENGTH), PRINTABLE],
        metadata={"description": "The report's identity: sent again it changes nothing."},
    )
    equipment_name = fields.String(required=True, validate=validate.Length(0, MAX_TEXT_LENGTH))
    equipment_id = _text("The equipment's number.", required=True)
    rater = _text("Who gave the scores: a name or a pseudonym. Scores are compared by rater.")


class PredictedScoreView(OpenSchema):
    """One score from 1 to 5."""

    score = fields.Float(required=True)
    probabilities = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)
    conformal_set = fields.List(fields.Integer(), required=True)
    uncovered_levels = fields.List(
        fields.Integer(),
        required=True,
        metadata={
            "description": "Levels of which too few reports are known to promise the coverage for each."
        },
    )
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
    mean_score = fields.Float(required=True)
    similar_reports = fields.List(fields.Nested(SimilarReportView))
