"""Anomaly reports as /openapi.json describes them. The scoring family's intake is what checks them."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from prediction.scoring.requests.parser import ScoringOptions
from prediction.scoring.requests.record_validation import (
    MAX_DESCRIPTION_LENGTH,
    MAX_INPUTS,
    MAX_RECORDS,
    MAX_TEXT_LENGTH,
    SCORE_FIELDS,
)

_NOT_BLANK = validate.Regexp(r"[^\s\x1c-\x1f\x85]")
"""Some character that is no blank, for Python as for JavaScript, whose ``\\s`` knows fewer of them."""
_SCORES = Schema.from_dict(
    {name: fields.Float(required=True, validate=validate.Range(1, 5)) for name in SCORE_FIELDS}
)


def _text(description: str, longest: int = MAX_TEXT_LENGTH, required: bool = False) -> fields.String:
    checks: list[Any] = [validate.Length(1 if required else 0, longest)]
    checks += [_NOT_BLANK] if required else []
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
    source = _text("Where the report comes from.")
    detected_at = fields.Raw(
        metadata={
            "anyOf": [{"type": "string", "format": "date-time"}, {"enum": ["", None]}],
            "description": "When it was seen; now, where it is missing. A time without offset is UTC.",
        }
    )


class ScoredReportInput(ReportInput, _SCORES):  # type: ignore[valid-type, misc]
    """One anomaly report with the three scores an expert gave it."""

    anomaly_id = _text("The report's identity: sent again it changes nothing.", required=True)
    equipment_name = fields.String(required=True, validate=validate.Length(0, MAX_TEXT_LENGTH))
    equipment_id = _text("The equipment's number.", required=True)


class TrainingInput(Schema):
    """Records with training options."""

    class Meta:
        unknown = "raise"

    records = fields.List(
        fields.Nested(ScoredReportInput), required=True, validate=validate.Length(1, MAX_RECORDS)
    )
    options = fields.Nested(ScoringOptions, allow_none=True)


_RECORDS = {"type": "array", "items": ScoredReportInput, "minItems": 1, "maxItems": MAX_RECORDS}
_INPUTS = {"type": "array", "items": ReportInput, "minItems": 1, "maxItems": MAX_INPUTS}
_ANY_RECORDS = {"type": "array", "items": {"type": "object"}}
_ANY_TRAINING = {
    "type": "object",
    "properties": {"records": _ANY_RECORDS, "options": {"type": "object"}},
    "additionalProperties": False,
}
_OPTIONS = {"type": "object", "description": "Options, for a family that trains from stored data."}
_CSV_TEXT = {"text/csv": {"schema": {"type": "string"}}}
_WAV_TYPES = (
    "audio/wav",
    "audio/x-wav",
    "audio/wave",
    "audio/vnd.wave",
    "audio/flac",
    "audio/x-flac",
    "audio/aiff",
    "audio/x-aiff",
    "application/octet-stream",
)
_FILE = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}},
    "required": ["file"],
}

TRAINING_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"anyOf": [_RECORDS, TrainingInput]}}, **_CSV_TEXT},
}
TRAINING_BODY_OF_ANY_FAMILY = {
    "required": False,
    "content": {
        "application/json": {"schema": {"anyOf": [_ANY_RECORDS, _ANY_TRAINING, _OPTIONS]}},
        **_CSV_TEXT,
    },
}
PREDICTION_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"anyOf": [ReportInput, _INPUTS]}}, **_CSV_TEXT},
}
PREDICTION_BODY_OF_ANY_FAMILY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"anyOf": [{"type": "object"}, _ANY_RECORDS]}},
        **_CSV_TEXT,
        **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in _WAV_TYPES},
        "multipart/form-data": {"schema": _FILE},
    },
}
