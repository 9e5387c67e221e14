"""The detector that follows a stream: each reading is compared with the readings just before it.

It stores no model but the readings it starts from, needs no labels and forgets after two periods.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from prediction.sensors.anomaly.detector import Detector, DetectorFacts, SensorProfile
from prediction.sensors.anomaly.stream_scores import (
    SUPPRESSED_SCORE,
    StreamSettings,
    StreamState,
    compute_scores,
    suppress_repeats,
)
from prediction.sensors.readings.series import Array
from storage.filesystem.checked_write import save_arrays, save_json

ALGORITHM = "knn_cad"
FILE_NAME = "stream.json"
_ARRAYS_FILE = "stream.npz"
# Squared distances of values beyond this, in robust standard deviations, would lose all digits of the others.
_MAX_DEVIATIONS = 1e6
_NOTE = "compared with the readings just before, which slide along: not guaranteed"


@dataclass(frozen=True)
class StreamDetector(Detector):
    """Compares windows of readings with those one to two periods ago.

    Parameters
    ----------
    history : float64, shape (k,)
        The latest readings at training, a period at least.
    settings : StreamSettings
    centre, scale : float
    """

    history: Array
    settings: StreamSettings
    centre: float
    scale: float

    algorithm: ClassVar[str] = ALGORITHM

    @property
    def context_length(self) -> int:
        """Return how many earlier values a score depends on."""
        return self.settings.context_length

    def score(
        self, values: Array, times: Array, stream: Array | None = None, stream_times: Array | None = None
    ) -> NDArray[np.float64]:
        """Return scores after the suppression of repeated alarms."""
        real = values if stream is None else stream
        lead = len(real) - len(values)
        has_context = lead >= len(self.history)
        before = real[max(0, lead - self.context_length) : lead] if has_context else self.history
        scaled = self._scale(np.concatenate([before, real[lead:]]))
        scores = compute_scores(scaled, self.settings)
        suppressed, is_quiet = suppress_repeats(scores, self.threshold, self.settings.period)
        if stream is None or np.array_equal(stream[lead:], values):
            return suppressed[len(suppressed) - len(values) :]
        changed = compute_scores(scaled, self.settings, self._scale(values))[-len(values) :]
        return np.where(is_quiet[-len(values) :], np.minimum(changed, SUPPRESSED_SCORE), changed)

    def score_separately(self, values: Array, times: Array, recent: Sequence[Array]) -> NDArray[np.float64]:
        """Return the score of each value after its own recent ones, or after the history where these are few."""
        size = self.settings.window - 1
        rows = [np.concatenate([self.history[-size:], earlier])[-size:] for earlier in recent]
        return self._final_state.score(self._scale(np.column_stack([np.array(rows), values])))

    @cached_property
    def _final_state(self) -> StreamState:
        return StreamState.after(self._scale(self.history), self.settings)

    def _scale(self, values: Array) -> Array:
        limit = _MAX_DEVIATIONS * self.scale
        scaled: Array = np.clip(values, self.centre - limit, self.centre + limit) / self.scale
        return scaled

    def save(self, folder: Path) -> None:
        """Write ``stream.npz`` and ``stream.json``."""
        save_arrays(
            folder / _ARRAYS_FILE,
            history=self.history,
            held_out=self.held_out,
            expected=self.profile.expected,
        )
        settings = (self.settings.period, self.settings.window, self.settings.neighbours)
        document = {**self.to_dict(), "shape": settings, "centre": self.centre, "scale": self.scale}
        save_json(folder / FILE_NAME, document)

    @classmethod
    def load(cls, folder: Path) -> StreamDetector:
        """Read a detector from its folder; never unpickles."""
        document = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        with np.load(folder / _ARRAYS_FILE, allow_pickle=False) as arrays:
            return cls(
                document["threshold"],
                arrays["held_out"],
                SensorProfile.from_dict(document, arrays["expected"]),
                document["facts"],
                arrays["history"],
                StreamSettings(*document["shape"]),
                document["centre"],
                document["scale"],
            )


def start_detector(
    values: Array, profile: SensorProfile, *, budget: float, rate: float, centre: float, scale: float
) -> StreamDetector:
    """Return a detector that starts after these readings.

    Parameters
    ----------
    values : float64, shape (n,)
        In order of time.
    budget : float
        False alarms per week.
    rate : float
        The budget as a share of ordinary readings.
    """
    settings = StreamSettings.for_count(len(values))
    count = settings.windows_per_period
    allowed = max(0, math.floor(rate * (count + 1)) - 1)
    facts: DetectorFacts = {
        "algorithm": ALGORITHM,
        "false_alarms_per_week": budget,
        "rate": rate,
        "bound": (allowed + 1) / (count + 1),
        "guaranteed": False,
        "held_out": count,
        "period": settings.period,
        "note": _NOTE,
    }
    # Scores are shares of a period's windows, so those of ordinary readings are uniform by construction.
    uniform = (np.arange(count, dtype=np.float32) + 0.5) / count
    threshold = 1.0 - (allowed + 0.5) / count
    history = values[-settings.context_length :]
    return StreamDetector(threshold, uniform, profile, facts, history, settings, centre, scale)
