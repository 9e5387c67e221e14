"""The detector that follows a stream: it needs no labels, forgets after two periods, and says what changed.

It keeps no model but the readings it starts from; everything it says comes from the readings just before.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from prediction.sensors.anomaly.detector import Detector, SensorProfile, profile_of
from prediction.sensors.anomaly.stream_scores import (
    SUPPRESSED_SCORE,
    StreamSettings,
    StreamState,
    build_state,
    choose_settings,
    shares,
    suppress_repeats,
)

Array = NDArray[Any]

ALGORITHM = "knn_cad"
ARRAYS = "stream.npz"
FILE_NAME = "stream.json"
_FARTHEST = 1e6
"""Robust standard deviations from the centre beyond which one value is as far as another."""
_NOTE = "compared with the readings just before, which slide along: not guaranteed"


@dataclass(frozen=True)
class StreamDetector(Detector):
    """Windows of readings compared with those one to two periods ago.

    Parameters
    ----------
    history : float64, shape (k,)
        The latest readings at training, a period at least.
    shape : Shape
    centre, scale : float
    """

    history: Array
    shape: StreamSettings
    centre: float
    scale: float

    algorithm: ClassVar[str] = ALGORITHM

    @property
    def context(self) -> int:
        return self.shape.reach

    def scores(self, values: Array, times: Array, within: Array | None = None) -> NDArray[np.float64]:
        series = values if within is None else within
        lead = len(series) - len(values)
        before = series[max(0, lead - self.context) : lead] if lead >= len(self.history) else self.history
        known, asked = self._levels(np.concatenate([before, series[lead:]])), self._levels(values)
        real = shares(known, self.shape)
        heard, quiet = suppress_repeats(real, self.threshold, self.shape.period)
        if within is None or np.array_equal(series[lead:], values):
            return heard[len(heard) - len(values) :]
        other, quiet = shares(known, self.shape, asked)[-len(values) :], quiet[-len(values) :]
        return np.where(quiet, np.minimum(other, SUPPRESSED_SCORE), other)

    def alone(self, values: Array, times: Array, recent: Sequence[Array]) -> NDArray[np.float64]:
        """Each value behind its own recent ones, and behind the history where these are few."""
        size = self.shape.window - 1
        rows = [np.concatenate([self.history[-size:], earlier])[-size:] for earlier in recent]
        asked = np.column_stack([np.array(rows), values])
        found: NDArray[np.float64] = self._end.shares(self._levels(asked))
        return found

    @cached_property
    def _end(self) -> StreamState:
        return build_state(self._levels(self.history), self.shape)

    def _levels(self, values: Array) -> Array:
        far = _FARTHEST * self.scale
        levels: Array = np.clip(values, self.centre - far, self.centre + far) / self.scale
        return levels

    def save(self, folder: Path) -> None:
        """Write ``stream.npz`` and ``stream.json``."""
        expected = self.profile.expected
        np.savez(folder / ARRAYS, history=self.history, held_out=self.held_out, expected=expected)
        shape = (self.shape.period, self.shape.window, self.shape.neighbours)
        said = {**self.told(), "shape": shape, "centre": self.centre, "scale": self.scale}
        (folder / FILE_NAME).write_text(json.dumps(said, indent=1), encoding="utf-8")


def load(folder: Path) -> StreamDetector:
    """A detector from its folder; never unpickles."""
    said = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    with np.load(folder / ARRAYS, allow_pickle=False) as kept:
        history, held_out, profile = kept["history"], kept["held_out"], profile_of(said, kept["expected"])
    shift = (said["centre"], said["scale"])
    return StreamDetector(
        said["threshold"], held_out, profile, said["facts"], history, StreamSettings(*said["shape"]), *shift
    )


def start_detector(
    values: Array, profile: SensorProfile, budget: tuple[float, float], centre: float, scale: float
) -> Detector:
    """A detector that starts behind these readings.

    Parameters
    ----------
    values : float64, shape (n,)
        In order of time.
    budget : (float, float)
        False alarms a week, and the share of ordinary readings that this is.
    """
    shape = choose_settings(len(values))
    count = shape.taught
    allowed = max(0, math.floor(budget[1] * (count + 1)) - 1)
    facts = {
        "algorithm": ALGORITHM,
        "false_alarms_per_week": budget[0],
        "rate": budget[1],
        "bound": (allowed + 1) / (count + 1),
        "guaranteed": False,
        "held_out": count,
        "period": shape.period,
        "note": _NOTE,
    }
    usual = (np.arange(count, dtype=np.float32) + 0.5) / count
    threshold = 1.0 - (allowed + 0.5) / count
    return StreamDetector(threshold, usual, profile, facts, values[-shape.reach :], shape, centre, scale)
