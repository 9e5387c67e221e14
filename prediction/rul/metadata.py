"""The content of ``model_metadata.json``: everything of a version but the weights."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from prediction.contract import Options
from prediction.rul.data.validate import FleetValidation
from prediction.rul.evaluation.evaluate import PerformanceMetrics
from prediction.rul.evaluation.intervals import ResidualsRecord
from prediction.rul.monitoring.input_drift import PsiBaselineRecord
from prediction.rul.monitoring.production_metrics import ExpectedErrorRecord
from prediction.rul.preprocessing.preprocessor import PreprocessorRecord


class DevicesByPart(TypedDict):
    """The names of the devices that each part of the data consists of."""

    train: list[str]
    validation: list[str]
    test: list[str]


class WindowsByPart(TypedDict):
    """The number of windows of each part of the data."""

    train: int
    validation: int
    test: int


class FleetFacts(TypedDict):
    """What a version stores about its data.

    ``first`` and ``last`` are microseconds since 1970, ``telemetry_up_to`` and ``failures_up_to`` the watermarks of
    the stored data that it was trained on.
    """

    devices: DevicesByPart
    windows: WindowsByPart
    failures: int
    channels: list[str]
    settings: list[str]
    all_channels: list[str]
    conditions: int
    first: int
    last: int
    data_validation: FleetValidation
    split_note: NotRequired[str]
    window_note: str
    telemetry_up_to: NotRequired[int]
    failures_up_to: NotRequired[int]


class HeldOutPredictions(TypedDict):
    """What networks that had not seen a device predicted for it; times are microseconds since 1970."""

    times: list[int]
    hours: list[float]


class ModelMetadata(TypedDict):
    """The content of ``model_metadata.json``; versions of early releases have no ``promise``.

    ``options`` are those of the training, as `RulOptions` completed them.
    """

    format: int
    model_version: str
    model_type: str
    training_date: str
    performance_metrics: PerformanceMetrics
    serving: PreprocessorRecord
    residuals: ResidualsRecord
    options: Options
    data: FleetFacts
    inputs: PsiBaselineRecord
    fingerprint: str
    best_epochs: list[int]
    onnx_deviation_hours: float
    promise: NotRequired[ExpectedErrorRecord]
    held_out: NotRequired[dict[str, HeldOutPredictions]]
