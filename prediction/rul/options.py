"""Options of trainings and predictions for remaining useful life, with defaults, ranges and units."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from prediction.options import EpochOptions
from prediction.records.fields import FieldError, parse_instant

MODEL_TYPES: Final = ("lstm", "attention_lstm", "conv_lstm", "mlp")
MAX_WINDOW_ROWS: Final = 1_000


def _integer(default: int | None, low: int, high: int, description: str = "") -> fields.Integer:
    return fields.Integer(
        load_default=default,
        allow_none=default is None,
        validate=validate.Range(low, high),
        metadata={"description": description},
    )


def _float(default: float | None, low: float, high: float, description: str = "") -> fields.Float:
    return fields.Float(
        load_default=default,
        allow_none=default is None,
        validate=validate.Range(low, high),
        metadata={"description": description},
    )


def _date() -> fields.String:
    return fields.String(load_default=None, allow_none=True, metadata={"description": "RFC 3339."})


class RulOptions(EpochOptions):
    """Options of a training."""

    aliases: ClassVar[Mapping[str, str]] = {**EpochOptions.aliases, "window_size": "sequence_length"}

    tenant_id = fields.String(load_default=None, allow_none=True)
    device_ids = fields.List(
        fields.String(validate=validate.Length(1, 200)),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 100_000),
        metadata={
            "description": "Devices to learn from; a name that ends in * matches all with this prefix."
        },
    )
    start_date = _date()
    end_date = _date()
    sequence_length = _integer(50, 2, MAX_WINDOW_ROWS, "Rows in a window.")
    min_history = _integer(
        None, 1, MAX_WINDOW_ROWS, "Rows a run must have before it is predicted; null: sequence_length."
    )
    stride = _integer(1, 1, 10_000, "Rows from one training window to the next.")
    window_hours = _float(1.0, 1e-6, 1e5, "Rows closer together are averaged over so many hours.")
    sampling_rate_hz = _float(10.0, 1e-9, 1e9, "Of the raw signal behind the rows.")
    prediction_horizon_hours = _float(100.0, 1e-3, 1e6, "Longer lives are not told apart.")
    critical_hours = _float(10.0, 0, 1e6)
    warning_hours = _float(50.0, 0, 1e6)
    censored = fields.String(load_default="leave_out", validate=validate.OneOf(("leave_out", "lower_bound")))
    setting_channels = fields.List(
        fields.String(),
        load_default=None,
        allow_none=True,
        metadata={
            "description": "Channels that describe how a device is run; null: those with setting in the name."
        },
    )
    smoothing = _integer(10, 0, 1_000, "Span in rows of the moving average before the network; 0: none.")
    input_size = _integer(None, 1, 10_000)
    use_age = fields.Boolean(
        load_default=False,
        truthy={True},
        falsy={False},
        metadata={"description": "Add the hours a device has run since its last failure as a channel."},
    )
    every = _integer(
        None, 1, MAX_WINDOW_ROWS, "Use only every so many rows of the window; null: the smoothing."
    )
    model_type = fields.String(load_default="lstm", validate=validate.OneOf(MODEL_TYPES))
    hidden_size = _integer(128, 1, 2_048)
    num_layers = _integer(2, 1, 8)
    dropout = _float(0.2, 0, 0.9)
    jitter = _float(
        None, 0, 10, "Random offsets of training windows, in deviations; null: 0.3, for mlp none."
    )
    members = _integer(1, 1, 20, "Networks with different seeds whose outputs are averaged.")
    output = fields.String(load_default="mean", validate=validate.OneOf(("mean", "quantiles")))
    epochs = _integer(100, 1, 10_000)
    batch_size = _integer(32, 1, 65_536)
    learning_rate = _float(0.001, 1e-7, 1)
    weight_decay = _float(0.0, 0, 1)
    schedule = fields.String(
        load_default="plateau",
        validate=validate.OneOf(("plateau", "cosine")),
        metadata={"description": "How the learning rate falls: halved on a plateau, or along a cosine."},
    )
    early_stopping_patience = _integer(15, 0, 10_000)
    seed = _integer(42, 0, 2**31 - 1)
    deployment_threshold = _float(
        None, 0, 1e6, "Largest mean absolute error, in hours, with which a model may be promoted."
    )
    promote = fields.String(load_default="managed", validate=validate.OneOf(("managed", "manual")))

    @validates_schema
    def check_order(self, data: dict[str, Any], **_: Any) -> None:
        """Check that critical comes before warning, and the start before the end."""
        if data["critical_hours"] > data["warning_hours"]:
            raise ValidationError("must not be above warning_hours", "critical_hours")
        start, end = (_parse_date(name, data[name]) for name in ("start_date", "end_date"))
        if start is not None and end is not None and start > end:
            raise ValidationError("must not be after end_date", "start_date")


def _parse_date(name: str, raw: str | None) -> datetime | None:
    try:
        return None if raw is None else parse_instant(name, raw)
    except FieldError as error:
        raise ValidationError(error.message, name) from error
