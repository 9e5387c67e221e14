"""Options of a forecasting training, with defaults, ranges and units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from prediction.options import EpochOptions
from storage.datasets.tables.column_names import MAX_COLUMNS

AUTO = "auto"
ARCHITECTURES = (
    "BiLSTM", "BiGRU", "Conv1D-LSTM", "NLinear", "DLinear", "RidgeLinear", "PatchTransformer", AUTO,
)  # fmt: skip
CHANNEL_ARCHITECTURES = frozenset({"NLinear", "DLinear", "RidgeLinear", "PatchTransformer"})
"""Those that forecast a target from its own past alone."""
DEFAULT_WINDOW = 50
_COLUMN_COUNT = validate.Length(1, MAX_COLUMNS)


class ForecastingOptions(EpochOptions):
    """Options of a forecasting training."""

    # Models of version 0.1 are trained again with the options in their manifest.
    aliases: ClassVar[Mapping[str, str]] = {**EpochOptions.aliases, "anchored": "residual_to_last"}

    dataset = fields.String(required=True, metadata={"description": "Id of an uploaded dataset."})
    target_columns = fields.List(fields.String(), required=True, validate=_COLUMN_COUNT)
    feature_columns = fields.List(fields.String(), load_default=None, allow_none=True, validate=_COLUMN_COUNT)
    architecture = fields.String(load_default="BiLSTM", validate=validate.OneOf(ARCHITECTURES))
    window_size = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(2, 5_000),
        metadata={"description": f"Rows: {DEFAULT_WINDOW}; for auto as many as the data allow, up to 720."},
    )
    future_steps = fields.Integer(load_default=24, validate=validate.Range(1, 2_000))
    hidden_size = fields.Integer(load_default=64, validate=validate.Range(1, 1_024))
    num_layers = fields.Integer(load_default=2, validate=validate.Range(1, 8))
    dropout = fields.Float(load_default=0.2, validate=validate.Range(0, 0.9))
    conv_filters = fields.Integer(load_default=64, validate=validate.Range(1, 1_024))
    kernel_size = fields.Integer(load_default=3, validate=validate.Range(1, 99))
    learning_rate = fields.Float(load_default=0.001, validate=validate.Range(1e-7, 1))
    weight_decay = fields.Float(load_default=0.0, validate=validate.Range(0, 1))
    batch_size = fields.Integer(load_default=32, validate=validate.Range(1, 65_536))
    epochs = fields.Integer(load_default=50, validate=validate.Range(1, 10_000))
    early_stopping_patience = fields.Integer(load_default=10, validate=validate.Range(0, 10_000))
    residual_to_last = fields.Boolean(
        load_default=True, metadata={"description": "Forecast the change from the last row, not the level."}
    )
    time_budget_seconds = fields.Float(
        load_default=120.0,
        validate=validate.Range(1, 86_400),
        metadata={"description": "For the choice of auto."},
    )
    seed = fields.Integer(load_default=42, validate=validate.Range(0, 2**31 - 1))

    @post_load
    def fill_window_size(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Set the default; ``auto`` leaves it open until the data are read."""
        if data["window_size"] is None and data["architecture"] != AUTO:
            return {**data, "window_size": DEFAULT_WINDOW}
        return data

    @validates_schema
    def check_combinations(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a target that is named twice and a width that the attention heads cannot share."""
        names = data.get("target_columns", [])
        if len(set(names)) != len(names):
            raise ValidationError("every target may be named once", "target_columns")
        if data.get("architecture") == "PatchTransformer" and data.get("hidden_size", 64) % 4:
            raise ValidationError("must be a multiple of 4 for the PatchTransformer's heads", "hidden_size")
