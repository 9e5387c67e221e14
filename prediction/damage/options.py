"""Options of a damage training, with defaults, ranges and units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from prediction.contract import Options
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
        metadata=_describe("Rate to resample to; the lowest of the data set if empty."),
    )
    window_size = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(4, 1 << 20),
        metadata=_describe("Samples (or rows) of one window; from the length of the recordings if empty."),
    )
    overlap = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(0, 0.95),
        metadata=_describe("Share of a window that the next repeats; 0.5 to 0.9 by length if empty."),
    )
    n_fft = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(8, 1 << 16),
        metadata={
            "title": "Frame size",
            "description": "Samples of one frame of a spectrogram; chosen from the window if empty.",
        },
    )
    hop = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, 1 << 16),
        metadata=_describe("Samples from one frame to the next; chosen from the frame if empty."),
    )
    bands = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(4, 512),
        metadata=_describe("Frequency bands of the image; chosen from the frame if empty."),
    )
    scale = fields.String(
        load_default="log",
        validate=validate.OneOf(SCALES),
        metadata=_describe("How frequency bands are spaced: log gives low frequencies more bands."),
    )
    normalise = fields.String(
        load_default="none",
        validate=validate.OneOf(NORMALISATIONS),
        metadata=_describe("What is set to the mean level 0, so that loudness does not count."),
    )
    envelope = fields.Boolean(
        load_default=True,
        metadata=_describe("Add an image of the envelope, which shows impacts of damaged bearings."),
    )
    phase = fields.Boolean(
        load_default=True, metadata=_describe("Add images of the phase between neighbouring channels.")
    )
    modulation = fields.Boolean(
        load_default=True, metadata=_describe("Add an image of how often the power at each frequency swells.")
    )
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
    split_by = fields.String(
        load_default="auto",
        validate=validate.OneOf(SPLITS),
        metadata=_describe(
            "What training and test part never share: specimens, where they are known, or recordings."
        ),
    )


class AugmentationOptions(Schema):
    """How training images are changed; see prediction/damage/model/augmentation.py."""

    augment = fields.Boolean(
        load_default=True,
        metadata=_describe(
            "Change training images at random, so that the model learns what does not matter."
        ),
    )
    time_shift = fields.Float(
        load_default=0.5,
        validate=validate.Range(0, 1),
        metadata=_describe("Largest shift in time, as a share of a window."),
    )
    noise = fields.Float(
        load_default=0.0,
        validate=validate.Range(0, 10),
        metadata=_describe("Largest power of added noise, as a share of the image's mean power."),
    )
    masks = fields.Float(
        load_default=0.1,
        validate=validate.Range(0, 0.9),
        metadata=_describe("Largest share of the bands, and of the frames, that one blank covers."),
    )
    gain = fields.Float(
        load_default=1.0,
        validate=validate.Range(0, 10),
        metadata=_describe("Largest random change of the loudness (natural logarithm of power)."),
    )
    tilt = fields.Float(
        load_default=2.0,
        validate=validate.Range(0, 10),
        metadata=_describe("Largest random change of the level by band (natural logarithm of power)."),
    )
    stretch = fields.Integer(
        load_default=1,
        validate=validate.Range(0, 64),
        metadata=_describe("Largest shift along the bands: on a log scale, another speed."),
    )
    hide = fields.Float(
        load_default=0.4,
        validate=validate.Range(0, 0.9),
        metadata=_describe(
            "Share of examples whose levels are hidden, so that modulations and phases count as well."
        ),
    )


class DamageOptions(WindowOptions, AugmentationOptions, EpochOptions):
    """Options of a damage training."""

    # Models of version 0.1 are trained again with the options in their manifest.
    aliases: ClassVar[Mapping[str, str]] = {
        **EpochOptions.aliases, "most_windows": "max_windows", "second_opinion": "linear_blend",
    }  # fmt: skip

    dataset = fields.String(required=True, metadata=_describe("Id of an uploaded dataset of recordings."))
    model_type = fields.String(
        load_default="cnn",
        validate=validate.OneOf(MODEL_TYPES),
        metadata=_describe("The network: a small one (cnn), or one with residual blocks (resnet)."),
    )
    channels = fields.List(
        fields.Integer(validate=validate.Range(1, 1_024)),
        load_default=[16, 32, 64],
        validate=validate.Length(1, 8),
        metadata=_describe("Filters of each layer, first to last, separated by commas."),
    )
    linear_blend = fields.Boolean(
        load_default=True,
        metadata=_describe("Add logistic regression on the bands, weighted by the validation recordings."),
    )
    blocks = fields.Integer(
        load_default=2,
        validate=validate.Range(1, 16),
        metadata=_describe("Residual blocks of each layer of the resnet."),
    )
    hidden_size = fields.Integer(
        load_default=64,
        validate=validate.Range(1, 4_096),
        metadata=_describe("Numbers in each hidden layer: more can learn more, and take longer."),
    )
    dropout = fields.Float(
        load_default=0.3,
        validate=validate.Range(0, 0.9),
        metadata=_describe("Share of connections left out at random in training, against learning by heart."),
    )
    learning_rate = fields.Float(
        load_default=0.001,
        validate=validate.Range(1e-7, 1),
        metadata=_describe("Size of a training step; smaller is slower and steadier."),
    )
    weight_decay = fields.Float(
        load_default=0.0001,
        validate=validate.Range(0, 1),
        metadata=_describe("Pull of the weights towards zero, against learning by heart."),
    )
    label_smoothing = fields.Float(
        load_default=0.05,
        validate=validate.Range(0, 0.5),
        metadata=_describe("Share of certainty taken from the true class, against overconfidence."),
    )
    class_weights = fields.Boolean(
        load_default=True, metadata=_describe("Let rare classes count as much as frequent ones.")
    )
    batch_size = fields.Integer(
        load_default=32,
        validate=validate.Range(2, 65_536),
        metadata=_describe("Windows that are learnt from at once."),
    )
    epochs = fields.Integer(
        load_default=30,
        validate=validate.Range(1, 10_000),
        metadata=_describe("How often the training data are gone through, at most."),
    )
    early_stopping_patience = fields.Integer(
        load_default=10,
        validate=validate.Range(0, 10_000),
        metadata=_describe(
            "Epochs without a lower validation loss before the training stops; 0 never stops."
        ),
    )
    refit = fields.Boolean(
        load_default=True,
        metadata=_describe(
            "After the evaluation, train what serves again on all recordings; takes up to twice as long."
        ),
    )
    seed = fields.Integer(
        load_default=42,
        validate=validate.Range(0, 2**31 - 1),
        metadata=_describe("Start of the random numbers: the same seed gives the same model."),
    )

    @validates_schema
    def check_frame_sizes(self, data: Options, **_: object) -> None:
        """Refuse frames longer than their window, and steps longer than their frame."""
        window, frame, hop = (data.get(name) for name in ("window_size", "n_fft", "hop"))
        if window and frame and frame > window:
            raise ValidationError("must not be larger than window_size", "n_fft")
        if frame and hop and hop > frame:
            raise ValidationError("must not be larger than n_fft", "hop")
