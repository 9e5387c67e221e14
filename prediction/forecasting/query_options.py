"""Query options of forecasts."""

from __future__ import annotations

from marshmallow import Schema, fields


class ForecastingQueryOptions(Schema):
    """When a forecast becomes an alarm."""

    degradation_threshold = fields.Float(
        metadata={"description": "Forecasts: tell when `degradation`, or else each target, crosses it."}
    )
