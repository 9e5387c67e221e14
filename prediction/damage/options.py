"""Options of a damage training, with defaults, ranges and units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from prediction.damage.spectrograms.precomputed_spectrogram import LEVELS
from prediction.damage.spectrograms.spectrogram import NORMALISATIONS, SCALES
from prediction.options import EpochOptions

MODEL_TYPES = ("cnn", "resnet")
SPLITS = ("auto", "specimen", "recording")


def _describe(text: str) -> dict[str, str]:
    return {"description": text}


class WindowOptions(Schema):
    """How recordings become images."""

    sampling_rate_hz = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1e-6, 1e9),
        metadata=_describe("Rate to resample to; the lowest of the dataset where it is null."),
    )
    window_size = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(4, 1 << 20),
        metadata=_describe("Samples (or rows) of one window; from the recordings' length where it is null."),
    )
    overlap = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(0, 0.95),
        metadata=_describe("Share of a window that the next repeats; 0.5 to 0.9 by length where it is null."),
    )
    n_fft = fields.Integer(load_default=None, allow_none=True, validate=validate.Range(8, 1 << 16))
    hop = fields.Integer(load_default=None, allow_none=True, validate=validate.Range(1, 1 << 16))
    bands = fields.Integer(load_default=None, allow_none=True, validate=validate.Range(4, 512))
    scale = fields.String(load_default="log", validate=validate.OneOf(SCALES))
    normalise = fields.String(load_default="none", validate=validate.OneOf(NORMALISATIONS))
    envelope = fields.Boolean(load_default=True)
    phase = fields.Boolean(load_default=True)
    modulation = fields.Boolean(load_default=True)
    levels = fields.String(
        load_default="decibel",
        validate=validate.OneOf(LEVELS),
        metadata=_describe("What precomputed spectrograms hold; `log` is the natural logarithm of power."),
    )
    max_windows = fields.Integer(
        load_default=20_000,
        validate=validate.Range(10, 1_000_000),
        metadata=_describe("Windows of all recordings together; of more, an even choice is taken."),
    )
    split_by = fields.String(load_default="auto", validate=validate.OneOf(SPLITS))


class AugmentationOptions(Schema):
    """How training images are changed; see prediction/damage/model/augmentation.py."""

    augment = fields.Boolean(load_default=True)
    time_shift = fields.Float(load_default=0.5, validate=validate.Range(0, 1))
    noise = fields.Float(load_default=0.0, validate=validate.Range(0, 10))
    masks = fields.Float(load_default=0.1, validate=validate.Range(0, 0.9))
    gain = fields.Float(load_default=1.0, validate=validate.Range(0, 10))
    tilt = fields.Float(load_default=2.0, validate=validate.Range(0, 10))
    stretch = fields.Integer(load_default=1, validate=validate.Range(0, 64))
    hide = fields.Float(load_default=0.4, validate=validate.Range(0, 0.9))


class DamageOptions(WindowOptions, AugmentationOptions, EpochOptions):
    """Options of a damage training."""

    # Models of version 0.1 are trained again with the options in their manifest.
    aliases: ClassVar[Mapping[str, str]] = {
        **EpochOptions.aliases, "most_windows": "max_windows", "second_opinion": "linear_blend",
    }  # fmt: skip

    dataset = fields.String(required=True, metadata=_describe("Id of an uploaded dataset of recordings."))
    model_type = fields.String(load_default="cnn", validate=validate.OneOf(MODEL_TYPES))
    channels = fields.List(
        fields.Integer(validate=validate.Range(1, 1_024)),
        load_default=[16, 32, 64],
        validate=validate.Length(1, 8),
    )
    linear_blend = fields.Boolean(
        load_default=True,
        metadata=_describe("Add logistic regression on the bands, weighted by the validation recordings."),
    )
    blocks = fields.Integer(load_default=2, validate=validate.Range(1, 16))
    hidden_size = fields.Integer(load_default=64, validate=validate.Range(1, 4_096))
    dropout = fields.Float(load_default=0.3, validate=validate.Range(0, 0.9))
    learning_rate = fields.Float(load_default=0.001, validate=validate.Range(1e-7, 1))
    weight_decay = fields.Float(load_default=0.0001, validate=validate.Range(0, 1))
    label_smoothing = fields.Float(load_default=0.05, validate=validate.Range(0, 0.5))
    class_weights = fields.Boolean(load_default=True)
    batch_size = fields.Integer(load_default=32, validate=validate.Range(2, 65_536))
    epochs = fields.Integer(load_default=30, validate=validate.Range(1, 10_000))
    early_stopping_patience = fields.Integer(load_default=10, validate=validate.Range(0, 10_000))
    seed = fields.Integer(load_default=42, validate=validate.Range(0, 2**31 - 1))

    @validates_schema
    def check_frame_sizes(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse frames longer than their window, and steps longer than their frame."""
        window, frame, hop = (data.get(name) for name in ("window_size", "n_fft", "hop"))
        if window and frame and frame > window:
            raise ValidationError("must not be larger than window_size", "n_fft")
        if frame and hop and hop > frame:
            raise ValidationError("must not be larger than n_fft", "hop")
