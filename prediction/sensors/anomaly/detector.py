"""The anomaly detectors that serve: arrays, a threshold and a range, without scikit-learn."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.sensors.anomaly.anomaly_types import CONTEXT_LENGTH, classify, rate_severity
from prediction.sensors.anomaly.equal_runs import count_equal_readings
from prediction.sensors.anomaly.isolation_forest import Forest
from prediction.sensors.anomaly.threshold import compute_tail_probability
from prediction.sensors.readings.prediction_input import PredictionInput, stack_values
from prediction.sensors.readings.series import (
    Array,
    build_classic_features,
    build_cyclic_features,
    hour_of_day,
)
from storage.filesystem.checked_write import save_array, save_json

FILE_NAME = "detector.json"
_NODES_FILE, _SCORES_FILE = "trees.npy", "held_out.npy"


class Detection(TypedDict):
    """The verdict on one reading; ``confidence`` and ``expected`` are None where a fallback rule knows none."""

    is_anomaly: bool
    anomaly_score: float
    threshold: float
    confidence: float | None
    type: str | None
    severity: str | None
    expected: float | None
    deviation: float | None
    beyond_range: bool
    model_used: str
    fallback_reason: str | None
    expected_low: NotRequired[float]
    expected_high: NotRequired[float]
    parts: NotRequired[list[str]]
    released_by: NotRequired[int]
    model_version: NotRequired[int | None]
    prediction_id: NotRequired[str | None]
    anomaly_id: NotRequired[int | None]


class DetectorFacts(TypedDict, total=False):
    """How a detector got its threshold; stored with it, so all keys of all algorithms are optional."""

    algorithm: str
    mode: str
    contamination: float
    false_alarms_per_week: float
    guaranteed: bool
    value: float
    rate: float
    bound: float
    held_out: int
    needed: int
    left_out_blocks: int
    note: str
    period: int
    margin: float
    grown_from: int
    highest_seen: float


class DetectorRecord(TypedDict):
    """What the JSON file of every detector holds; JSON has no infinity, so None stands for no limit.

    Detectors of version 0.1 have no ``max_equal``.
    """

    format: int
    threshold: float
    spread: float
    step: float
    low: float | None
    high: float | None
    max_equal: NotRequired[float | None]
    facts: DetectorFacts


@dataclass(frozen=True)
class SensorProfile:
    """What a healthy sensor shows.

    Parameters
    ----------
    expected : float64, shape (24,)
        Usual value at each hour of the day (UTC), in the sensor's unit.
    spread : float
        Robust standard deviation around it.
    step : float
        Robust standard deviation of the change from one reading to the next.
    low, high : float
        The training range with its margin; infinite where the mode has no range.
    max_equal : float
        More equal readings in a row than this are a frozen sensor; infinite for detectors without this rule, as
        those of earlier versions.
    """

    expected: Array
    spread: float
    step: float
    low: float
    high: float
    max_equal: float = math.inf

    @classmethod
    def from_dict(cls, document: DetectorRecord, expected: Array) -> SensorProfile:
        """Return the profile of a stored detector."""
        low = -math.inf if document["low"] is None else document["low"]
        high = math.inf if document["high"] is None else document["high"]
        stored = document.get("max_equal")
        max_equal = math.inf if stored is None else stored
        return cls(expected, document["spread"], document["step"], low, high, max_equal)

    def is_out_of_range(self, values: Array) -> NDArray[np.bool_]:
        """Return which readings lie beyond the range the sensor has shown, shape (n,)."""
        is_outside: NDArray[np.bool_] = (values < self.low) | (values > self.high)
        return is_outside


@dataclass(frozen=True)
class Detector(ABC):
    """Scores readings and decides which are anomalies.

    Parameters
    ----------
    threshold : float
        A score above it is an anomaly.
    held_out : float32, shape (k,)
        Scores of held-out ordinary readings, ascending: they turn a score into a confidence.
    profile : SensorProfile
    facts : DetectorFacts
    """

    threshold: float
    held_out: Array
    profile: SensorProfile
    facts: DetectorFacts

    algorithm: ClassVar[str]

    @property
    def context_length(self) -> int:
        """Return how many earlier values a score depends on."""
        return 0

    @property
    def run_context(self) -> int:
        """Return how many earlier values show whether the sensor is frozen."""
        return 0 if math.isinf(self.profile.max_equal) else math.ceil(self.profile.max_equal)

    def estimate_usual(self, times: Array) -> Array:
        """Return the usual values at these times, shape (n,)."""
        usual: Array = self.profile.expected[hour_of_day(times).astype(int)]
        return usual

    @abstractmethod
    def score(
        self, values: Array, times: Array, stream: Array | None = None, stream_times: Array | None = None
    ) -> NDArray[np.float64]:
        """Return scores in [0, 1], shape (n,).

        Parameters
        ----------
        values, times : float64, shape (n,)
            Values to score, at seconds since 1970.
        stream : float64, shape (k + n,), optional
            k earlier values, then the values that the sensor really showed at these times. They differ from
            ``values`` where faults are inserted for an evaluation.
        stream_times : float64, shape (k + n,), optional
            Times of the stream; without them the earlier values are taken as evenly spaced.
        """

    def score_separately(self, values: Array, times: Array, recent: Sequence[Array]) -> NDArray[np.float64]:
        """Return scores of readings that do not follow each other, each with its own recent values."""
        return self.score(values, times)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write arrays without pickles, and JSON."""

    def find_frozen(self, values: Array, stream: Array | None = None) -> NDArray[np.bool_]:
        """Return which readings repeat a value for longer than the sensor has shown; parameters as in `score`."""
        if not self.run_context:
            return np.zeros(len(values), dtype=bool)
        count = count_equal_readings(values, values if stream is None else stream)
        is_frozen: NDArray[np.bool_] = count > self.profile.max_equal
        return is_frozen

    def find_anomalies(
        self, values: Array, times: Array, stream: Array | None = None, stream_times: Array | None = None
    ) -> NDArray[np.bool_]:
        """Return which readings are anomalies, shape (n,); parameters as in :meth:`score`."""
        is_odd = self.score(values, times, stream, stream_times) > self.threshold
        return is_odd | self.profile.is_out_of_range(values) | self.find_frozen(values, stream)

    def predict(self, inputs: Sequence[PredictionInput]) -> list[Detection]:
        """Return a detection for each input; the inputs do not follow each other."""
        values, times = stack_values(inputs)
        return self.detect(values, times, [np.array(item["recent"], dtype=np.float64) for item in inputs])

    def detect(
        self,
        values: Array,
        times: Array,
        recent: Sequence[Array],
        stream: Array | None = None,
        stream_times: Array | None = None,
    ) -> list[Detection]:
        """Return a detection for each reading.

        Parameters
        ----------
        values, times : float64, shape (n,)
        recent : sequence of n float arrays
            The values before each reading, oldest first; empty arrays where none is known.
        stream : float64, shape (k + n,), optional
            As in :meth:`score`. Without it the readings do not follow each other.
        stream_times : float64, shape (k + n,), optional
        """
        if stream is None:
            scores = self.score_separately(values, times, recent)
            frozen = [
                self.find_frozen(values[i : i + 1], np.append(recent[i], values[i]))
                for i in range(len(values))
            ]
            is_frozen = np.concatenate([*frozen, np.empty(0, dtype=bool)])
        else:
            scores = self.score(values, times, stream, stream_times)
            is_frozen = self.find_frozen(values, stream)
        is_outside = self.profile.is_out_of_range(values)
        rules = {"score": scores > self.threshold, "range": is_outside, "stuck": is_frozen}
        tail = compute_tail_probability(self.held_out, scores)
        expected = self.estimate_usual(times)
        detections: list[Detection] = []
        for i, value in enumerate(values.tolist()):
            parts = [name for name, fires in rules.items() if fires[i]]
            detection: Detection = {
                "is_anomaly": bool(parts),
                "anomaly_score": float(scores[i]),
                "threshold": self.threshold,
                "confidence": float(1.0 - tail[i] if parts else tail[i]),
                "type": None,
                "severity": None,
                "expected": float(expected[i]),
                "deviation": float(value - expected[i]),
                "beyond_range": bool(is_outside[i]),
                "model_used": self.algorithm,
                "fallback_reason": None,
            }
            if parts:
                detection["parts"] = parts
                usual, profile = float(expected[i]), self.profile
                detection["type"] = (
                    "Dropout"
                    if is_frozen[i]
                    else classify(value, usual, profile.spread, profile.step, recent[i])
                )
                is_extreme = not profile.low <= value <= profile.high
                detection["severity"] = rate_severity((value - usual) / profile.spread, is_extreme)
            detections.append(detection)
        return detections

    def detect_after(
        self, values: Array, times: Array, before: Array, before_times: Array
    ) -> list[Detection]:
        """Return a detection for each reading of a series that goes on.

        Parameters
        ----------
        values, times : float64, shape (n,)
        before, before_times : float64, shape (k,)
            The readings before them, oldest first.
        """
        stream = np.concatenate([before, values])
        recent = [stream[max(0, end - CONTEXT_LENGTH) : end] for end in range(len(before), len(stream))]
        return self.detect(values, times, recent, stream, np.concatenate([before_times, times]))

    def to_dict(self) -> DetectorRecord:
        """Return what the JSON file of every detector holds."""
        low, high = self.profile.low, self.profile.high
        return {
            "format": 1,
            "threshold": self.threshold,
            "spread": self.profile.spread,
            "step": self.profile.step,
            "low": low if math.isfinite(low) else None,
            "high": high if math.isfinite(high) else None,
            "max_equal": self.profile.max_equal if self.run_context else None,
            "facts": self.facts,
        }


@dataclass(frozen=True)
class ForestDetector(Detector):
    """An isolation forest over value, hour and weekday.

    Parameters
    ----------
    forest : Forest
    mode : str
        ``cyclic``, or ``classic`` for the old platform's features.
    centre, scale : float
        How a value is shifted and scaled before a cyclic forest scores it.
    """

    forest: Forest
    mode: str
    centre: float
    scale: float

    algorithm: ClassVar[str] = "isolation_forest"

    def score(
        self, values: Array, times: Array, stream: Array | None = None, stream_times: Array | None = None
    ) -> NDArray[np.float64]:
        """Return the forest's scores; they depend on no earlier reading."""
        if self.mode == "classic":
            return self.forest.score(build_classic_features(values, times))
        return self.forest.score(build_cyclic_features(values, times, self.centre, self.scale))

    def save(self, folder: Path) -> None:
        """Write ``trees.npy`` (one row per node), ``held_out.npy`` and ``detector.json``."""
        forest = self.forest
        # Plain arrays, not an .npz: a server with many sensors loads models on request, and a plain array
        # opens faster than an archive.
        layout = [("feature", "i1"), ("value", forest.value.dtype), ("left", "i4")]
        nodes = np.empty(len(forest.value), layout)
        nodes["feature"], nodes["value"], nodes["left"] = forest.feature, forest.value, forest.left
        save_array(folder / _NODES_FILE, nodes)
        save_array(folder / _SCORES_FILE, self.held_out)
        document = {
            **self.to_dict(),
            "trees": forest.trees,
            "samples": forest.samples,
            "mode": self.mode,
            "centre": self.centre,
            "scale": self.scale,
            "expected": self.profile.expected.tolist(),
        }
        save_json(folder / FILE_NAME, document)

    @classmethod
    def load(cls, folder: Path) -> ForestDetector:
        """Read a detector from its folder; never unpickles."""
        document = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        nodes = np.load(folder / _NODES_FILE, allow_pickle=False)
        forest = Forest(
            np.ascontiguousarray(nodes["feature"]),
            np.ascontiguousarray(nodes["value"]),
            np.ascontiguousarray(nodes["left"]),
            document["trees"],
            document["samples"],
        )
        expected = np.array(document["expected"], dtype=np.float64)
        return cls(
            document["threshold"],
            np.load(folder / _SCORES_FILE, allow_pickle=False),
            SensorProfile.from_dict(document, expected),
            document["facts"],
            forest,
            document["mode"],
            document["centre"],
            document["scale"],
        )
