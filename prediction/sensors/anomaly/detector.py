"""The anomaly detector that answers: arrays, a threshold and a range; no scikit-learn."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON
from prediction.sensors.anomaly import anomaly_types
from prediction.sensors.anomaly.isolation_forest import Forest
from prediction.sensors.anomaly.threshold import compute_tail_probability
from prediction.sensors.readings.series import build_classic_features, build_cyclic_features, hour_of_day

Array = NDArray[Any]

NODES, SCORES = "trees.npy", "held_out.npy"
FILE_NAME = "detector.json"


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
        The training range with its margin; infinite where the mode knows no range.
    """

    expected: Array
    spread: float
    step: float
    low: float
    high: float


@dataclass(frozen=True)
class Detector(ABC):
    """Scores readings and says which are odd.

    Parameters
    ----------
    threshold : float
        A score above it is an anomaly.
    held_out : float32, shape (k,)
        Scores of held-out ordinary readings, ascending: they turn a score into a confidence.
    profile : Profile
    facts : mapping
        JSON-able account of the threshold: budget, rate, bound, whether it is guaranteed.
    """

    threshold: float
    held_out: Array
    profile: SensorProfile
    facts: JSON

    algorithm: ClassVar[str]

    @property
    def context(self) -> int:
        """Earlier values that a score depends on."""
        return 0

    @abstractmethod
    def scores(self, values: Array, times: Array, within: Array | None = None) -> NDArray[np.float64]:
        """Scores in [0, 1], shape (n,).

        Parameters
        ----------
        within : float64, shape (k + n,), optional
            What the sensor said: k earlier values, and the readings themselves or what stood in their place.
        """

    def alone(self, values: Array, times: Array, recent: Sequence[Array]) -> NDArray[np.float64]:
        """Scores of values that have nothing to do with each other, each behind its recent ones."""
        return self.scores(values, times)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write arrays without pickles, and JSON."""

    def beyond(self, values: Array) -> NDArray[np.bool_]:
        """Which readings lie beyond the range the sensor has shown, shape (n,)."""
        outside: NDArray[np.bool_] = (values < self.profile.low) | (values > self.profile.high)
        return outside

    def alarms(self, values: Array, times: Array, within: Array | None = None) -> NDArray[np.bool_]:
        """Which readings are anomalies, shape (n,); ``within`` as in `scores`."""
        return self.beyond(values) | (self.scores(values, times, within) > self.threshold)

    def answers(
        self, values: Array, times: Array, recent: Sequence[Array], within: Array | None = None
    ) -> list[JSON]:
        """A verdict a reading.

        Parameters
        ----------
        values, times : float64, shape (n,)
        recent : sequence of n float arrays
            The values before each reading, oldest first; empty arrays where none is known.
        within : float64, shape (k + n,), optional
            As in `scores`; without it the readings have nothing to do with each other.
        """
        apart = within is None
        scores = self.alone(values, times, recent) if apart else self.scores(values, times, within)
        beyond = self.beyond(values)
        odd = (scores > self.threshold) | beyond
        share = compute_tail_probability(self.held_out, scores)
        expected = self.profile.expected[hour_of_day(times).astype(int)]
        return [
            {
                "is_anomaly": bool(odd[i]),
                "anomaly_score": float(scores[i]),
                "threshold": self.threshold,
                "confidence": float(1.0 - share[i] if odd[i] else share[i]),
                **self._nature(bool(odd[i]), float(values[i]), float(expected[i]), recent[i]),
                "expected": float(expected[i]),
                "deviation": float(values[i] - expected[i]),
                "beyond_range": bool(beyond[i]),
                "model_used": self.algorithm,
                "fallback_reason": None,
            }
            for i in range(len(values))
        ]

    def _nature(self, odd: bool, value: float, expected: float, recent: Array) -> JSON:
        """Kind and severity of an anomaly; neither for an ordinary reading."""
        if not odd:
            return {"type": None, "severity": None}
        profile = self.profile
        beyond = not profile.low <= value <= profile.high
        return {
            "type": anomaly_types.classify(value, expected, profile.spread, profile.step, recent),
            "severity": anomaly_types.rate_severity((value - expected) / profile.spread, beyond),
        }

    def told(self) -> JSON:
        """What every detector writes down."""
        limits = (self.profile.low, self.profile.high)
        low, high = (limit if math.isfinite(limit) else None for limit in limits)
        return {
            "format": 1,
            "threshold": self.threshold,
            "spread": self.profile.spread,
            "step": self.profile.step,
            "low": low,
            "high": high,
            "facts": self.facts,
        }


def profile_of(said: JSON, expected: Array) -> SensorProfile:
    """The profile that was written down."""
    low = -math.inf if said["low"] is None else said["low"]
    high = math.inf if said["high"] is None else said["high"]
    return SensorProfile(expected, said["spread"], said["step"], low, high)


@dataclass(frozen=True)
class ForestDetector(Detector):
    """An isolation forest over value, hour and weekday.

    Parameters
    ----------
    forest : Forest
    mode : str
        ``cyclic``, or ``classic`` for the old platform's features.
    centre, scale : float
        How a value is shifted and scaled before a cyclic forest sees it.
    """

    forest: Forest
    mode: str
    centre: float
    scale: float

    algorithm: ClassVar[str] = "isolation_forest"

    def scores(self, values: Array, times: Array, within: Array | None = None) -> NDArray[np.float64]:
        if self.mode == "classic":
            return self.forest.score(build_classic_features(values, times))
        return self.forest.score(build_cyclic_features(values, times, self.centre, self.scale))

    def save(self, folder: Path) -> None:
        """Write ``trees.npy`` (one row a node), ``held_out.npy`` and ``detector.json``.

        A fleet's models are loaded as they are asked: plain arrays open sooner than an archive of them.
        """
        forest = self.forest
        layout = [("feature", "i1"), ("value", forest.value.dtype), ("left", "i4")]
        nodes = np.empty(len(forest.value), layout)
        nodes["feature"], nodes["value"], nodes["left"] = forest.feature, forest.value, forest.left
        np.save(folder / NODES, nodes, allow_pickle=False)
        np.save(folder / SCORES, self.held_out, allow_pickle=False)
        grown = {"trees": forest.trees, "samples": forest.samples}
        shift = {"mode": self.mode, "centre": self.centre, "scale": self.scale}
        said = {**self.told(), **grown, **shift, "expected": self.profile.expected.tolist()}
        (folder / FILE_NAME).write_text(json.dumps(said, indent=1), encoding="utf-8")


def load(folder: Path) -> ForestDetector:
    """A detector from its folder; never unpickles."""
    said = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    nodes = np.load(folder / NODES, allow_pickle=False)
    feature, value, left = (np.ascontiguousarray(nodes[name]) for name in ("feature", "value", "left"))
    forest = Forest(feature, value, left, said["trees"], said["samples"])
    held_out = np.load(folder / SCORES, allow_pickle=False)
    profile = profile_of(said, np.array(said["expected"], dtype=np.float64))
    shift = (said["mode"], said["centre"], said["scale"])
    return ForestDetector(said["threshold"], held_out, profile, said["facts"], forest, *shift)
