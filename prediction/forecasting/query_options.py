"""Query options of forecasts."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

FILL, REFUSE = "fill", "refuse"
MISSING_CELLS = (FILL, REFUSE)


class ForecastingQueryOptions(Schema):
    """When a forecast becomes an alarm, and what happens with missing cells."""

    degradation_threshold = fields.Float(
        metadata={"description": "Forecasts: tell when `degradation`, or else each target, crosses it."}
    )
    missing_cells = fields.String(
        validate=validate.OneOf(MISSING_CELLS),
        metadata={
            "description": "Forecasts: `fill` missing cells of the rows on the line between their neighbours, with a "
            "warning, or `refuse` them. Default: `fill`."
        },
    )
