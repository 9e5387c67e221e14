"""Options of a forecasting training, with defaults, ranges and units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from zoneinfo import ZoneInfo

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from prediction.contract import Options
from prediction.options import EpochOptions
from storage.datasets.tables.column_names import MAX_COLUMNS

AUTO, COMPARE = "auto", "compare"
NETWORKS = (
    "BiLSTM", "BiGRU", "Conv1D-LSTM", "NLinear", "DLinear", "RidgeLinear", "Smoothing", "Combination",
    "PatchTransformer",
)  # fmt: skip
ARCHITECTURES = (*NETWORKS, AUTO, COMPARE)
# Those that forecast a target from its own past alone.
CHANNEL_ARCHITECTURES = frozenset(
    {"NLinear", "DLinear", "RidgeLinear", "Smoothing", "Combination", "PatchTransformer"}
)
# Those whose default window follows the season and the length of the table.
_OPEN_WINDOWS = {AUTO, COMPARE, "Smoothing", "Combination"}
DEFAULT_WINDOW = 50
_COLUMN_COUNT = validate.Length(1, MAX_COLUMNS)


def is_time_zone(name: str) -> None:
    """Refuse a name that is no time zone."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValidationError(f"{name!r} is no time zone; send an IANA name such as Europe/Paris") from error


class ForecastingOptions(EpochOptions):
    """Options of a forecasting training."""

    # Models of version 0.1 are trained again with the options in their manifest.
    aliases: ClassVar[Mapping[str, str]] = {**EpochOptions.aliases, "anchored": "residual_to_last"}

    dataset = fields.String(required=True, metadata={"description": "Id of an uploaded dataset."})
    target_columns = fields.List(
        fields.String(),
        required=True,
        validate=_COLUMN_COUNT,
        metadata={"description": "Columns to forecast."},
    )
    feature_columns = fields.List(
        fields.String(),
        load_default=None,
        allow_none=True,
        validate=_COLUMN_COUNT,
        metadata={"description": "Inputs of the network besides the targets; all numbers if empty."},
    )
    future_columns = fields.List(
        fields.String(),
        load_default=None,
        allow_none=True,
        validate=_COLUMN_COUNT,
        metadata={
            "description": "Columns whose values are known in advance, such as planned loads, calendar flags or "
            "weather forecasts: requests bring their values for the rows to forecast."
        },
    )
    architecture = fields.String(
        load_default="BiLSTM",
        validate=validate.OneOf(ARCHITECTURES),
        metadata={
            "description": "The network; auto compares several within its time budget and trains the best, "
            "compare trains all of them and keeps the best."
        },
    )
    window_size = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(2, 5_000),
        metadata={
            "description": f"Rows that a forecast is made from: {DEFAULT_WINDOW}; for auto, Smoothing and Combination "
            "eight seasons or a sixteenth of the table, 50 to 720, and at most half of the training rows."
        },
    )
    future_steps = fields.Integer(
        load_default=24, validate=validate.Range(1, 2_000), metadata={"description": "Rows to forecast."}
    )
    hidden_size = fields.Integer(
        load_default=64,
        validate=validate.Range(1, 1_024),
        metadata={"description": "Numbers in each hidden layer: more can learn more, and take longer."},
    )
    num_layers = fields.Integer(
        load_default=2,
        validate=validate.Range(1, 8),
        metadata={"title": "Layers", "description": "Hidden layers, one above the other."},
    )
    dropout = fields.Float(
        load_default=0.2,
        validate=validate.Range(0, 0.9),
        metadata={
            "description": "Share of connections left out at random in training, against learning by heart."
        },
    )
    conv_filters = fields.Integer(
        load_default=64,
        validate=validate.Range(1, 1_024),
        metadata={"description": "Patterns that the convolution of the Conv1D-LSTM looks for."},
    )
    kernel_size = fields.Integer(
        load_default=3,
        validate=validate.Range(1, 99),
        metadata={"description": "Rows that one pattern of the convolution spans."},
    )
    learning_rate = fields.Float(
        load_default=0.001,
        validate=validate.Range(1e-7, 1),
        metadata={"description": "Size of a training step; smaller is slower and steadier."},
    )
    weight_decay = fields.Float(
        load_default=0.0,
        validate=validate.Range(0, 1),
        metadata={"description": "Pull of the weights towards zero, against learning by heart."},
    )
    batch_size = fields.Integer(
        load_default=32,
        validate=validate.Range(1, 65_536),
        metadata={"description": "Windows that are learnt from at once."},
    )
    epochs = fields.Integer(
        load_default=50,
        validate=validate.Range(1, 10_000),
        metadata={"description": "How often the training data are gone through, at most."},
    )
    early_stopping_patience = fields.Integer(
        load_default=10,
        validate=validate.Range(0, 10_000),
        metadata={
            "description": "Epochs without a lower validation loss before the training stops; 0 never stops."
        },
    )
    residual_to_last = fields.Boolean(
        load_default=True, metadata={"description": "Forecast the change from the last row, not the level."}
    )
    time_budget_seconds = fields.Float(
        load_default=120.0,
        validate=validate.Range(1, 86_400),
        metadata={"description": "How long auto may compare; the training of the best is extra."},
    )
    seed = fields.Integer(
        load_default=42,
        validate=validate.Range(0, 2**31 - 1),
        metadata={"description": "Start of the random numbers: the same seed gives the same model."},
    )
    time_zone = fields.String(
        load_default=None,
        allow_none=True,
        validate=is_time_zone,
        metadata={
            "description": "IANA name such as Europe/Paris: steps of days and longer follow the clocks there, so that "
            "forecasts of local midnights stay at midnight. Default: UTC."
        },
    )

    @post_load
    def fill_window_size(self, data: Options, **_: object) -> Options:
        """Set the default; some architectures leave it open until the data are read."""
        if data["window_size"] is None and data["architecture"] not in _OPEN_WINDOWS:
            return {**data, "window_size": DEFAULT_WINDOW}
        return data

    @validates_schema
    def check_combinations(self, data: Options, **_: object) -> None:
        """Refuse columns named twice, future targets, and a width that the attention heads cannot share."""
        names = data.get("target_columns", [])
        if len(set(names)) != len(names):
            raise ValidationError("every target may be named once", "target_columns")
        if known := sorted(set(names).intersection(data.get("future_columns") or [])):
            reason = "what is forecast is not known in advance"
            raise ValidationError(f"name no target, {', '.join(known)}: {reason}", "future_columns")
        if data.get("architecture") in {"PatchTransformer", COMPARE} and data.get("hidden_size", 64) % 4:
            raise ValidationError("must be a multiple of 4 for the PatchTransformer's heads", "hidden_size")
