"""The request bodies of training and prediction, as /openapi.json describes them."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from api.http.request_body import AUDIO_TYPES, BINARY_TABLE_TYPES, CSV_TYPE
from api.models.anomaly_report_schemas import ReportInput, ScoredReportInput
from prediction.scoring.requests.parser import ScoringOptions
from prediction.scoring.requests.record_validation import MAX_INPUTS, MAX_RECORDS


class TrainingInput(Schema):
    """Records with training options."""

    class Meta:
        unknown = "raise"

    records = fields.List(
        fields.Nested(ScoredReportInput), required=True, validate=validate.Length(1, MAX_RECORDS)
    )
    options = fields.Nested(ScoringOptions, allow_none=True)


class AcceptRequest(Schema):
    """Who accepts what the gate has held back."""

    accepted_by = fields.String(validate=validate.Length(1, 200), allow_none=True, load_default=None)


ACCEPT_BODY = {"required": False, "content": {"application/json": {"schema": AcceptRequest}}}

_OBJECTS = {"type": "array", "items": {"type": "object"}}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_TABLES = {CSV_TYPE: {"schema": {"type": "string"}}, **dict.fromkeys(BINARY_TABLE_TYPES, _BINARY)}

TRAINING_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [
                    {"type": "array", "items": ScoredReportInput, "minItems": 1, "maxItems": MAX_RECORDS},
                    TrainingInput,
                ]
            }
        },
        **_TABLES,
    },
}
ANY_FAMILY_TRAINING_BODY = {
    "required": False,
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [
                    _OBJECTS,
                    {
                        "type": "object",
                        "properties": {"records": _OBJECTS, "options": {"type": "object"}},
                        "additionalProperties": False,
                    },
                    {"type": "object", "description": "Options, for a family that trains from stored data."},
                ]
            }
        },
        **_TABLES,
    },
}
PREDICTION_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [
                    ReportInput,
                    {"type": "array", "items": ReportInput, "minItems": 1, "maxItems": MAX_INPUTS},
                ]
            }
        },
        **_TABLES,
    },
}
ANY_FAMILY_PREDICTION_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"anyOf": [{"type": "object"}, _OBJECTS]}},
        **_TABLES,
        **dict.fromkeys((*AUDIO_TYPES, "application/octet-stream"), _BINARY),
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}},
                "required": ["file"],
            }
        },
    },
}
