"""The anomaly detectors that serve: arrays, a threshold and a range, without scikit-learn."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.sensors.anomaly.anomaly_types import classify, rate_severity
from prediction.sensors.anomaly.isolation_forest import Forest
from prediction.sensors.anomaly.threshold import compute_tail_probability
from prediction.sensors.readings.prediction_input import PredictionInput, stack_values
from prediction.sensors.readings.series import (
    Array,
    build_classic_features,
    build_cyclic_features,
    hour_of_day,
)
from storage.filesystem.checked_write import save_array

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
    model_version: NotRequired[int | None]
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
    note: str
    period: int
    margin: float
    grown_from: int
    highest_seen: float


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
    """

    expected: Array
    spread: float
    step: float
    low: float
    high: float

    @classmethod
    def from_dict(cls, document: dict[str, Any], expected: Array) -> SensorProfile:
        """Return the profile of a stored detector; JSON has no infinity, so None stands for no limit."""
        low = -math.inf if document["low"] is None else document["low"]
        high = math.inf if document["high"] is None else document["high"]
        return cls(expected, document["spread"], document["step"], low, high)


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

    @abstractmethod
    def score(self, values: Array, times: Array, stream: Array | None = None) -> NDArray[np.float64]:
        """Return scores in [0, 1], shape (n,).

        Parameters
        ----------
        values, times : float64, shape (n,)
            Values to score, at seconds since 1970.
        stream : float64, shape (k + n,), optional
            k earlier values, then the values that the sensor really showed at these times. They differ from
            ``values`` where faults are inserted for an evaluation.
        """

    def score_separately(self, values: Array, times: Array, recent: Sequence[Array]) -> NDArray[np.float64]:
        """Return scores of readings that do not follow each other, each with its own recent values."""
        return self.score(values, times)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write arrays without pickles, and JSON."""

    def is_out_of_range(self, values: Array) -> NDArray[np.bool_]:
        """Return which readings lie beyond the range the sensor has shown, shape (n,)."""
        is_outside: NDArray[np.bool_] = (values < self.profile.low) | (values > self.profile.high)
        return is_outside

    def find_anomalies(self, values: Array, times: Array, stream: Array | None = None) -> NDArray[np.bool_]:
        """Return which readings are anomalies, shape (n,); parameters as in :meth:`score`."""
        return self.is_out_of_range(values) | (self.score(values, times, stream) > self.threshold)

    def predict(self, inputs: Sequence[PredictionInput]) -> list[Detection]:
        """Return a detection for each input; the inputs do not follow each other."""
        values, times = stack_values(inputs)
        return self.detect(values, times, [np.array(item["recent"], dtype=np.float64) for item in inputs])

    def detect(
        self, values: Array, times: Array, recent: Sequence[Array], stream: Array | None = None
    ) -> list[Detection]:
        """Return a detection for each reading.

        Parameters
        ----------
        values, times : float64, shape (n,)
        recent : sequence of n float arrays
            The values before each reading, oldest first; empty arrays where none is known.
        stream : float64, shape (k + n,), optional
            As in :meth:`score`. Without it the readings do not follow each other.
        """
        if stream is None:
            scores = self.score_separately(values, times, recent)
        else:
            scores = self.score(values, times, stream)
        is_outside = self.is_out_of_range(values)
        is_anomaly = (scores > self.threshold) | is_outside
        tail = compute_tail_probability(self.held_out, scores)
        expected = self.profile.expected[hour_of_day(times).astype(int)]
        return [
            {
                "is_anomaly": bool(is_anomaly[i]),
                "anomaly_score": float(scores[i]),
                "threshold": self.threshold,
                "confidence": float(1.0 - tail[i] if is_anomaly[i] else tail[i]),
                "type": self._classify(float(values[i]), float(expected[i]), recent[i])
                if is_anomaly[i]
                else None,
                "severity": self._rate_severity(float(values[i]), float(expected[i]))
                if is_anomaly[i]
                else None,
                "expected": float(expected[i]),
                "deviation": float(values[i] - expected[i]),
                "beyond_range": bool(is_outside[i]),
                "model_used": self.algorithm,
                "fallback_reason": None,
            }
            for i in range(len(values))
        ]

    def _classify(self, value: float, expected: float, recent: Array) -> str:
        return classify(value, expected, self.profile.spread, self.profile.step, recent)

    def _rate_severity(self, value: float, expected: float) -> str:
        profile = self.profile
        return rate_severity((value - expected) / profile.spread, not profile.low <= value <= profile.high)

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON file of every detector holds."""
        low, high = self.profile.low, self.profile.high
        return {
            "format": 1,
            "threshold": self.threshold,
            "spread": self.profile.spread,
            "step": self.profile.step,
            "low": low if math.isfinite(low) else None,
            "high": high if math.isfinite(high) else None,
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

    def score(self, values: Array, times: Array, stream: Array | None = None) -> NDArray[np.float64]:
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
        (folder / FILE_NAME).write_text(json.dumps(document, indent=1), encoding="utf-8")

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
