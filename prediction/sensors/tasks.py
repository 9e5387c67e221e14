"""What each kind of model does in a training: which rows it sees, how it is trained, refitted and evaluated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, Self, TypedDict, TypeVar

import numpy as np

from prediction.contract import Scores
from prediction.sensors import anomaly, calibration, drift
from prediction.sensors.anomaly import Detector
from prediction.sensors.anomaly.training import EVALUATION_HELD_OUT_SHARE
from prediction.sensors.calibration import CalibrationModel, CalibrationPairs
from prediction.sensors.drift import DriftModel
from prediction.sensors.options import SensorTrainingOptions
from prediction.sensors.readings import Array, SensorSeries
from prediction.sensors.readings.prediction_input import PredictionInput
from storage.sensors.baseline import Baseline

_PROBE_RECENT_VALUES = 5
_PROBE_FUTURE_POINTS = 3


class TimedRows(Protocol):
    """Readings or calibrations in order of time."""

    @property
    def times(self) -> Array:
        """Return seconds since 1970, shape (n,)."""

    def __len__(self) -> int: ...

    def select(self, positions: slice | Array) -> Self:
        """Return the rows at these positions, or where a mask is true."""

    def fingerprint(self) -> str:
        """Return a sha256 of the rows."""


class SensorFacts(TypedDict):
    """What the manifest of a version tells of its training data."""

    kind: str
    sensor_id: int
    sensor_name: str
    unit: str
    readings: int
    left_out: int
    readings_up_to: int
    first: str
    last: str
    last_time: float


RowsT = TypeVar("RowsT", bound=TimedRows)
ModelT = TypeVar("ModelT")


@dataclass(frozen=True)
class SensorTask(ABC, Generic[RowsT, ModelT]):
    """The rows of one model, split by time, and what its kind does with them.

    Parameters
    ----------
    rows : SensorSeries or CalibrationPairs
        All rows, in order of time.
    first_held_out : int
        Position of the first row that is held out for the evaluation.
    """

    rows: RowsT
    first_held_out: int

    kind: ClassVar[str]
    row_noun: ClassVar[str] = "reading"
    min_seen_rows: ClassVar[int]
    """Rows that a champion must have seen for a fair comparison."""

    @property
    def past(self) -> RowsT:
        """Return the rows before the held-out part."""
        return self.rows.select(slice(0, self.first_held_out))

    @property
    def held_out(self) -> RowsT:
        """Return the latest rows."""
        return self.rows.select(slice(self.first_held_out, None))

    @abstractmethod
    def train(self, rows: RowsT, options: SensorTrainingOptions) -> ModelT:
        """Train a model on past rows, to be evaluated on later ones."""

    def refit(self, model: ModelT, options: SensorTrainingOptions) -> ModelT:
        """Train the evaluated configuration on all rows."""
        return self.train(self.rows, options)

    @abstractmethod
    def evaluate(self, model: ModelT) -> Scores:
        """Score a model on the held-out rows."""

    @abstractmethod
    def seen_by(self, champion: SensorFacts) -> RowsT:
        """Return the part of the past that an earlier version was trained on."""

    @abstractmethod
    def values(self) -> Array:
        """Return the raw values of all rows."""

    def build_inputs(self, count: int) -> list[PredictionInput]:
        """Return the latest rows as inputs, repeated where there are fewer than ``count``."""
        values, times = self.values(), self.rows.times
        recent = values[:_PROBE_RECENT_VALUES].tolist()
        return [
            {
                "value": float(values[row]),
                "time": float(times[row]),
                "recent": recent,
                "future_points": _PROBE_FUTURE_POINTS,
            }
            for row in (-1 - step % len(values) for step in range(count))
        ]


@dataclass(frozen=True)
class AnomalyTask(SensorTask[SensorSeries, Detector]):
    """Train and evaluate an anomaly detector."""

    kind: ClassVar[str] = "anomaly"
    min_seen_rows: ClassVar[int] = anomaly.MIN_READINGS

    def train(self, rows: SensorSeries, options: SensorTrainingOptions) -> Detector:
        return anomaly.train(rows, options, EVALUATION_HELD_OUT_SHARE)

    def refit(self, model: Detector, options: SensorTrainingOptions) -> Detector:
        """Keep the trees that were evaluated; the threshold follows the latest readings."""
        return anomaly.recalibrate(model, self.rows, options)

    def evaluate(self, model: Detector) -> Scores:
        return anomaly.evaluate(model, self.past, self.held_out)

    def seen_by(self, champion: SensorFacts) -> SensorSeries:
        return _readings_up_to(self.past, champion)

    def values(self) -> Array:
        return self.rows.values


@dataclass(frozen=True)
class DriftTask(SensorTask[SensorSeries, DriftModel]):
    """Train and evaluate a drift model against a baseline."""

    baseline: Baseline

    kind: ClassVar[str] = "drift"
    min_seen_rows: ClassVar[int] = drift.MIN_READINGS

    def train(self, rows: SensorSeries, options: SensorTrainingOptions) -> DriftModel:
        return drift.train(rows, self.baseline, options.coverage)

    def evaluate(self, model: DriftModel) -> Scores:
        return drift.evaluate(model, self.rows, self.first_held_out)

    def seen_by(self, champion: SensorFacts) -> SensorSeries:
        return _readings_up_to(self.past, champion)

    def values(self) -> Array:
        return self.rows.values


@dataclass(frozen=True)
class CalibrationTask(SensorTask[CalibrationPairs, CalibrationModel]):
    """Train and evaluate a calibration model."""

    kind: ClassVar[str] = "calibration"
    row_noun: ClassVar[str] = "calibration"
    min_seen_rows: ClassVar[int] = calibration.MIN_PAIRS

    def train(self, rows: CalibrationPairs, options: SensorTrainingOptions) -> CalibrationModel:
        return calibration.train(rows, options.reliability, options.tolerance)

    def evaluate(self, model: CalibrationModel) -> Scores:
        return calibration.evaluate(model, self.held_out)

    def seen_by(self, champion: SensorFacts) -> CalibrationPairs:
        past = self.past
        return past.select(slice(0, int(np.searchsorted(past.times, champion["last_time"], side="right"))))

    def values(self) -> Array:
        return self.rows.raw


def _readings_up_to(past: SensorSeries, champion: SensorFacts) -> SensorSeries:
    # By id, not by time: a late reading with an old time was not there when the champion was trained.
    return past.select(past.ids <= champion["readings_up_to"])
