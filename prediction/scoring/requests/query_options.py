"""Query options of predictions for anomaly reports."""

from __future__ import annotations

from marshmallow import Schema, fields, validate


class ScoringQueryOptions(Schema):
    """How many similar reports to show, and how sure conformal sets must be."""

    similar_reports = fields.Integer(
        validate=validate.Range(0, 50), metadata={"description": "How many similar past reports to show."}
    )
    coverage = fields.Float(
        validate=validate.Range(0.5, 0.99), metadata={"description": "Promised coverage of conformal sets."}
    )
