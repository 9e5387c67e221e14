"""What may be asked of a training for remaining useful life, with defaults, ranges and units."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from prediction.options import EpochOptions

MODEL_TYPES: Final = ("lstm", "attention_lstm", "conv_lstm", "mlp")
LONGEST_WINDOW: Final = 1_000


def _whole(default: int, low: int, high: int, said: str = "") -> fields.Integer:
    return fields.Integer(
        load_default=default, validate=validate.Range(low, high), metadata={"description": said}
    )


def _number(default: float, low: float, high: float, said: str = "") -> fields.Float:
    return fields.Float(
        load_default=default, validate=validate.Range(low, high), metadata={"description": said}
    )


def _moment() -> fields.String:
    return fields.String(load_default=None, allow_none=True, metadata={"description": "RFC 3339."})


class RulOptions(EpochOptions):
    """Options of a training."""

    aliases: ClassVar[Mapping[str, str]] = {
        **EpochOptions.aliases,
        "window_size": "sequence_length",
    }

    tenant_id = fields.String(load_default=None, allow_none=True)
    device_ids = fields.List(
        fields.String(validate=validate.Length(1, 200)),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 100_000),
        metadata={
            "description": "Devices to learn from; a name that ends in * stands for all that begin so."
        },
    )
    start_date = _moment()
    end_date = _moment()
    sequence_length = _whole(50, 2, LONGEST_WINDOW, "Rows in a window.")
    min_history = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, LONGEST_WINDOW),
        metadata={
            "description": "Rows a run must have before it is judged; sequence_length where it is null."
        },
    )
    stride = _whole(1, 1, 10_000, "Rows from one training window to the next.")
    window_hours = _number(1.0, 1e-6, 1e5, "Rows closer together are averaged over so many hours.")
    sampling_rate_hz = _number(10.0, 1e-9, 1e9, "Of the raw signal behind the rows.")
    prediction_horizon_hours = _number(100.0, 1e-3, 1e6, "Longer lives are not told apart.")
    critical_hours = _number(10.0, 0, 1e6)
    warning_hours = _number(50.0, 0, 1e6)
    censored = fields.String(load_default="leave_out", validate=validate.OneOf(("leave_out", "lower_bound")))
    setting_channels = fields.List(
        fields.String(),
        load_default=None,
        allow_none=True,
        metadata={"description": "Channels that say how a device is run; else those named …setting…"},
    )
    smoothing = _whole(10, 0, 1_000, "Span in rows of the moving average before the network; 0: none.")
    input_size = fields.Integer(load_default=None, allow_none=True, validate=validate.Range(1, 10_000))
    use_age = fields.Boolean(
        load_default=False,
        truthy={True},
        falsy={False},
        metadata={"description": "Show the network the hours a device has run since its last failure."},
    )
    every = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, LONGEST_WINDOW),
        metadata={"description": "Only every so many rows of the window are looked at; null: the smoothing."},
    )
    model_type = fields.String(load_default="lstm", validate=validate.OneOf(MODEL_TYPES))
    hidden_size = _whole(128, 1, 2_048)
    num_layers = _whole(2, 1, 8)
    dropout = _number(0.2, 0, 0.9)
    jitter = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(0, 10),
        metadata={"description": "Random offsets of training windows, in deviations; null: 0.3, mlp none."},
    )
    members = _whole(1, 1, 20, "Networks from different seeds whose answers are averaged.")
    output = fields.String(load_default="mean", validate=validate.OneOf(("mean", "quantiles")))
    epochs = _whole(100, 1, 10_000)
    batch_size = _whole(32, 1, 65_536)
    learning_rate = _number(0.001, 1e-7, 1)
    weight_decay = _number(0.0, 0, 1)
    schedule = fields.String(
        load_default="plateau",
        validate=validate.OneOf(("plateau", "cosine")),
        metadata={"description": "How the learning rate falls: halved on a plateau, or along a cosine."},
    )
    early_stopping_patience = _whole(15, 0, 10_000)
    seed = _whole(42, 0, 2**31 - 1)
    deployment_threshold = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(0, 1e6),
        metadata={"description": "Largest mean absolute error, in hours, with which a model may answer."},
    )
    promote = fields.String(load_default="managed", validate=validate.OneOf(("managed", "manual")))

    @validates_schema
    def check_order(self, data: dict[str, Any], **_: Any) -> None:
        """Critical comes before warning, and dates can be read."""
        if data["critical_hours"] > data["warning_hours"]:
            raise ValidationError("must not be above warning_hours", "critical_hours")
        start, end = (_moment_of(name, data[name]) for name in ("start_date", "end_date"))
        if start is not None and end is not None and start > end:
            raise ValidationError("must not be after end_date", "start_date")


def _moment_of(name: str, said: str | None) -> datetime | None:
    from prediction.records.fields import FieldError, parse_instant

    try:
        return None if said is None else parse_instant(name, said)
    except FieldError as wrong:
        raise ValidationError(wrong.message, name) from wrong
