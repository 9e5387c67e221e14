"""The composite detector that serves: arrays and thresholds in one JSON file and one array."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from prediction.sensors.anomaly.composite.parts import (
    HISTORY,
    INNOVATION,
    NOISE,
    PARTS,
    SHIFT,
    STUCK,
    PartsModel,
)
from prediction.sensors.anomaly.composite.season import Season
from prediction.sensors.anomaly.detector import Detection, Detector, SensorProfile
from prediction.sensors.readings.series import Array
from storage.filesystem.checked_write import save_array, save_json

ALGORITHM = "composite"
FILE_NAME = "composite.json"
_SCORES_FILE = "held_out.npy"
# Of every composite detector: a statistic at its own threshold has this score.
THRESHOLD = 0.5
# A jump that another part has found is one from this share of the threshold on: it only decides the type.
_JUMP_SHARE = 0.75
# Readings in which innovations to and fro are noise.
_NOISE_READINGS = 12


@dataclass(frozen=True)
class CompositeDetector(Detector):
    """Compares each reading with season, autoregression, level, noise and repeated values.

    Parameters
    ----------
    parts : PartsModel
    limits : float64, shape (5,)
        Thresholds of the statistics.
    """

    parts: PartsModel
    limits: Array

    algorithm: ClassVar[str] = ALGORITHM

    @property
    def context_length(self) -> int:
        """Return how many earlier values a score depends on."""
        return max(self.parts.context_length, self.run_context)

    def estimate_usual(self, times: Array) -> Array:
        """Return the seasonal values at these times, shape (n,)."""
        return self.parts.season.at(times)

    def score(
        self, values: Array, times: Array, stream: Array | None = None, stream_times: Array | None = None
    ) -> NDArray[np.float64]:
        """Return scores; 0.5 is the threshold. Without a stream the values are the whole series."""
        if stream is None:
            stream, stream_times = values, times
        stream_times = self._fill_times(values, times, stream, stream_times)
        return self.to_scores(self.parts.compute(values, stream, stream_times)[0])

    def score_separately(self, values: Array, times: Array, recent: Sequence[Array]) -> NDArray[np.float64]:
        """Return the score of each value after its own recent ones."""
        scores = [
            self.score(values[i : i + 1], times[i : i + 1], np.append(recent[i], values[i]))
            for i in range(len(values))
        ]
        return np.concatenate([*scores, np.empty(0)])

    def _fill_times(self, values: Array, times: Array, stream: Array, stream_times: Array | None) -> Array:
        """Return the times of a stream; evenly spaced ones where they are not known."""
        if stream_times is not None or not len(times):
            return times if stream_times is None else stream_times
        before = times[0] - self.parts.interval_s * np.arange(len(stream) - len(values), 0, -1)
        return np.concatenate([before, times])

    def to_scores(self, parts: Array) -> NDArray[np.float64]:
        """Return the largest ratio of a statistic to its threshold, as a score below 1; shape (n,)."""
        ratio = np.maximum((parts / self.limits[:, None]).max(axis=0), 0.0)
        score: NDArray[np.float64] = ratio / (1.0 + ratio)
        return score

    def detect(
        self,
        values: Array,
        times: Array,
        recent: Sequence[Array],
        stream: Array | None = None,
        stream_times: Array | None = None,
    ) -> list[Detection]:
        """Return a detection for each reading, with the part that raised it and the expected band."""
        detections = super().detect(values, times, recent, stream, stream_times)
        if stream is not None:
            self._describe(detections, values, times, stream, stream_times)
            return detections
        for i, detection in enumerate(detections):
            only = slice(i, i + 1)
            self._describe([detection], values[only], times[only], np.append(recent[i], values[i]), None)
        return detections

    def _describe(
        self,
        detections: list[Detection],
        values: Array,
        times: Array,
        stream: Array,
        stream_times: Array | None,
    ) -> None:
        """Add the expected band, and to alarms their parts and types."""
        stream_times = self._fill_times(values, times, stream, stream_times)
        parts, expected, scale = self.parts.compute(values, stream, stream_times)
        half = self.limits[INNOVATION] * scale
        for i, detection in enumerate(detections):
            detection["expected_low"] = float(expected[i] - half[i])
            detection["expected_high"] = float(expected[i] + half[i])
        if not any(detection["is_anomaly"] for detection in detections):
            return
        ratios = parts / self.limits[:, None]
        lead = len(stream) - len(values)
        persistent = self.parts.find_persistent(stream, stream_times)[lead:]
        jumps = self._find_jumps(len(values), stream, stream_times)
        for i, detection in enumerate(detections):
            if detection["is_anomaly"]:
                fired = [name for name, ratio in zip(PARTS, ratios[:, i], strict=True) if ratio > 1.0]
                detection["parts"] = [*fired, *(["range"] if detection["beyond_range"] else [])]
                reads_nothing = values[i] == 0 and abs(detection["expected"] or 0.0) > 5 * self.profile.spread
                if reads_nothing or ratios[STUCK, i] > 1.0:
                    detection["type"] = "Dropout"
                else:
                    window = jumps[i : i + HISTORY + 1]
                    detection["type"] = _name_type(ratios[:, i], bool(persistent[i]), window)

    def _find_jumps(self, count: int, stream: Array, stream_times: Array) -> NDArray[np.int64]:
        """Return the directions of innovations near or beyond the threshold, 0 for others.

        Returns
        -------
        int64, shape (HISTORY + count,)
            Of the last ``count`` readings and those before them.
        """
        longer = stream[max(0, len(stream) - count - HISTORY) :]
        parts, expected, _ = self.parts.compute(longer, stream, stream_times)
        is_jump = parts[INNOVATION] > _JUMP_SHARE * self.limits[INNOVATION]
        jumps = np.where(is_jump, np.sign(longer - expected), 0).astype(np.int64)
        return np.pad(jumps, (HISTORY + count - len(longer), 0))

    def save(self, folder: Path) -> None:
        """Write ``composite.json`` and ``held_out.npy``."""
        parts = self.parts
        save_array(folder / _SCORES_FILE, self.held_out)
        document = {
            **self.to_dict(),
            "expected": self.profile.expected.tolist(),
            "season": parts.season.table.tolist(),
            "weights": parts.weights.tolist(),
            "innovation_scale": parts.innovation_scale.tolist(),
            "level_scale": parts.level_scale.tolist(),
            "interval_s": parts.interval_s,
            "windows": list(parts.windows),
            "units": parts.units.tolist(),
            "noise_units": parts.noise_units.tolist(),
            "usual_innovation": parts.usual_innovation,
            "limits": [limit if math.isfinite(limit) else None for limit in self.limits],
        }
        save_json(folder / FILE_NAME, document)

    @classmethod
    def load(cls, folder: Path) -> CompositeDetector:
        """Read a detector from its folder; never unpickles."""
        document = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        parts = PartsModel(
            Season(np.array(document["season"])),
            np.array(document["weights"]),
            np.array(document["innovation_scale"]),
            np.array(document["level_scale"]),
            document["interval_s"],
            tuple(document["windows"]),
            np.array(document["units"]),
            np.array(document["noise_units"]),
            document.get("usual_innovation"),
        )
        return cls(
            document["threshold"],
            np.load(folder / _SCORES_FILE, allow_pickle=False),
            SensorProfile.from_dict(document, np.array(document["expected"])),
            document["facts"],
            parts,
            np.array([math.inf if limit is None else limit for limit in document["limits"]]),
        )


def _name_type(ratios: Array, is_persistent: bool, jumps: NDArray[np.int64]) -> str:
    """Return the type of an anomaly that is no dropout.

    Parameters
    ----------
    ratios : float64, shape (5,)
        Statistics in units of their thresholds.
    is_persistent : bool
        Whether the last readings all lie on one side of the usual value.
    jumps : int64, shape (HISTORY + 1,)
        Directions of the innovations up to this reading that are near or beyond the threshold.
    """
    latest = jumps[-_NOISE_READINGS:]
    turns = np.count_nonzero(np.diff(latest[latest != 0]))
    # A spike leaves and returns, which is one turn; a shift is none.
    if turns > 1:
        return "Noise"
    jumps_now, jumped = jumps[-1] != 0, bool(jumps.any())
    if jumps_now and np.count_nonzero(latest) == 1:
        return "Spike"
    if is_persistent:
        return "Calibration Error" if jumped else "Drift"
    if ratios[NOISE] > 1.0:
        return "Noise"
    return "Drift" if ratios[SHIFT] > 1.0 and not jumped else "Spike"
