"""Options of trainings and predictions for remaining useful life, with defaults, ranges and units."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from prediction.contract import Options
from prediction.options import EpochOptions
from prediction.records.fields import FieldError, parse_instant

MODEL_TYPES: Final = ("lstm", "attention_lstm", "conv_lstm", "mlp")
MAX_WINDOW_ROWS: Final = 1_000
_MAX_SHOWN_ROWS: Final = 8


def choose_step(options: Options) -> int:
    """Return how many rows of a window lie between those that the network looks at.

    By default the span of the moving average, so that rows do not overlap, but at least four rows a window.
    """
    step: int = options["every"] or max(1, min(options["smoothing"], options["sequence_length"] // 4))
    return step


def describe_rows(options: Options) -> str:
    """Return which rows of a window the network looks at, counted from 1; empty where it looks at all."""
    length, step = options["sequence_length"], choose_step(options)
    rows = [str(row) for row in range(length, 0, -step)][::-1]
    if step == 1:
        return ""
    shown = rows if len(rows) <= _MAX_SHOWN_ROWS else [*rows[:2], "…", *rows[-2:]]
    return (
        f"Of the {length} rows of a window, the network looks at {len(rows)}: rows {', '.join(shown)}, the last one "
        f"being the newest (every is {step}; 1 looks at all)"
    )


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


def _date(description: str) -> fields.String:
    return fields.String(load_default=None, allow_none=True, metadata={"description": description})


class RulOptions(EpochOptions):
    """Options of a training."""

    aliases: ClassVar[Mapping[str, str]] = {**EpochOptions.aliases, "window_size": "sequence_length"}

    tenant_id = fields.String(
        load_default=None, allow_none=True, metadata={"description": "The tenant of the key."}
    )
    device_ids = fields.List(
        fields.String(validate=validate.Length(1, 200)),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 100_000),
        metadata={
            "description": "Devices to learn from; a name that ends in * matches all with this prefix."
        },
    )
    start_date = _date("Telemetry from then on, such as 2026-01-31T00:00:00Z.")
    end_date = _date("Telemetry until then, such as 2026-01-31T00:00:00Z.")
    sequence_length = _integer(50, 2, MAX_WINDOW_ROWS, "Rows in a window.")
    min_history = _integer(
        None, 1, MAX_WINDOW_ROWS, "Rows a run must have before it is predicted; sequence_length if empty."
    )
    stride = _integer(1, 1, 10_000, "Rows from one training window to the next.")
    window_hours = _float(1.0, 1e-6, 1e5, "Rows closer together are averaged over so many hours.")
    sampling_rate_hz = _float(10.0, 1e-9, 1e9, "Sampling rate of the raw signal behind the rows.")
    prediction_horizon_hours = _float(100.0, 1e-3, 1e6, "Longer remaining lives are not told apart.")
    critical_hours = _float(10.0, 0, 1e6, "Below so many hours left, a device is critical.")
    warning_hours = _float(50.0, 0, 1e6, "Below so many hours left, a device is shown with a warning.")
    censored = fields.String(
        load_default="leave_out",
        validate=validate.OneOf(("leave_out", "lower_bound")),
        metadata={
            "description": "What runs without a failure teach: nothing, or that they lasted at least so long."
        },
    )
    setting_channels = fields.List(
        fields.String(),
        load_default=None,
        allow_none=True,
        metadata={
            "description": "Channels that describe how a device is run; those with setting in the name if empty."
        },
    )
    exclude_channels = fields.List(
        fields.String(),
        load_default=None,
        allow_none=True,
        metadata={"description": "Channels that the model does not see."},
    )
    trusted_channels = fields.List(
        fields.String(),
        load_default=None,
        allow_none=True,
        metadata={
            "description": "Channels that are measured although they run in a straight line to the failure, or "
            "are the same on several devices."
        },
    )
    smoothing = _integer(10, 0, 1_000, "Span in rows of the moving average before the network; 0: none.")
    input_size = _integer(None, 1, 10_000, "Number of channels, to be checked; from the data if empty.")
    use_age = fields.Boolean(
        load_default=False,
        truthy={True},
        falsy={False},
        metadata={"description": "Add the hours a device has run since its last failure as a channel."},
    )
    every = _integer(
        None, 1, MAX_WINDOW_ROWS, "Use only every so many rows of the window; the smoothing if empty."
    )
    model_type = fields.String(
        load_default="lstm",
        validate=validate.OneOf(MODEL_TYPES),
        metadata={"description": "The network; mlp takes seconds, the others minutes."},
    )
    hidden_size = _integer(
        128, 1, 2_048, "Numbers in each hidden layer: more can learn more, and take longer."
    )
    num_layers = _integer(2, 1, 8, "Hidden layers, one above the other.")
    dropout = _float(
        0.2, 0, 0.9, "Share of connections left out at random in training, against learning by heart."
    )
    jitter = _float(
        None, 0, 10, "Random offsets of training windows, in deviations; 0.3 if empty, for mlp none."
    )
    members = _integer(1, 1, 20, "Networks with different seeds whose outputs are averaged.")
    output = fields.String(
        load_default="mean",
        validate=validate.OneOf(("mean", "quantiles")),
        metadata={"description": "Learn the mean, or also the bounds of nine cases in ten (quantiles)."},
    )
    end_weight = _float(
        1.0, 1, 100, "Weight of errors at the failure; it falls to 1 where warning_hours are left."
    )
    epochs = _integer(100, 1, 10_000, "How often the training data are gone through, at most.")
    batch_size = _integer(32, 1, 65_536, "Windows that are learnt from at once.")
    learning_rate = _float(0.001, 1e-7, 1, "Size of a training step; smaller is slower and steadier.")
    weight_decay = _float(0.0, 0, 1, "Pull of the weights towards zero, against learning by heart.")
    schedule = fields.String(
        load_default="plateau",
        validate=validate.OneOf(("plateau", "cosine")),
        metadata={"description": "How the learning rate falls: halved on a plateau, or along a cosine."},
    )
    early_stopping_patience = _integer(
        15, 0, 10_000, "Epochs without a lower validation loss before the training stops; 0 never stops."
    )
    seed = _integer(42, 0, 2**31 - 1, "Start of the random numbers: the same seed gives the same model.")
    deployment_threshold = _float(
        None, 0, 1e6, "Largest mean absolute error, in hours, with which a model may be promoted."
    )
    max_critical_missed = _float(
        None, 0, 1, "Largest share of critical moments called otherwise with which a model may be promoted."
    )
    promote = fields.String(
        load_default="managed",
        validate=validate.OneOf(("managed", "manual")),
        metadata={
            "description": "Serve a version that passes the checks (managed), or one that somebody promotes (manual)."
        },
    )

    @validates_schema
    def check_order(self, data: Options, **_: object) -> None:
        """Check that critical comes before warning, the start before the end, and no used channel is excluded."""
        for name in ("trusted_channels", "setting_channels"):
            if both := sorted({*(data[name] or ())} & {*(data["exclude_channels"] or ())}):
                raise ValidationError(
                    f"{', '.join(map(repr, both))} cannot be in exclude_channels, too", name
                )
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
