"""Query options of damage predictions."""

from __future__ import annotations

from marshmallow import Schema, fields, validate


class DamageQueryOptions(Schema):
    """What a recording does not say itself."""

    sampling_rate_hz = fields.Float(
        validate=validate.Range(1e-6, 1e9),
        metadata={"description": "Of a recording that does not tell it."},
    )
