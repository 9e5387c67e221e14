"""Predictions on their way into the database, so that no request waits for a disk or fails with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from prediction import registry
from prediction.contract import ModelKey
from prediction.serving import LoadedModel
from storage.devices.prediction import Prediction, PredictionSource
from storage.devices.predictions import PredictionStore
from training.monitoring.write_behind import WriteBehind

_MAX_WAITING: Final = 100_000
_FLUSH_INTERVAL_SECONDS: Final = 0.5


class PredictionBuffer(WriteBehind):
    """A buffer of predictions about devices, flushed twice a second by a thread of its own.

    The thread starts with the first prediction. Where the database refuses, predictions wait, and the oldest
    are lost when too many do. A killed process loses half a second of them: they serve statistics only.
    """

    def __init__(self, store: PredictionStore) -> None:
        self._store = store
        self._waiting: deque[tuple[PredictionSource, Prediction]] = deque(maxlen=_MAX_WAITING)
        super().__init__("prediction-log", _FLUSH_INTERVAL_SECONDS)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: ModelKey, model: LoadedModel, answers: Sequence[Mapping[str, object]]) -> None:
        """Buffer the answers that can be compared with what will come."""
        monitor = registry.load_monitor(key.family)
        predictions = monitor.predictions_to_log(model.predictor, answers) if monitor else []
        if predictions:
            source = PredictionSource(key.tenant, key.family, key.name, model.number)
            with self._guard:
                self._waiting.extend((source, prediction) for prediction in predictions)
                self._start_writer()

    def flush(self) -> None:
        """Write what is waiting."""
        with self._flushing:
            with self._guard:
                batch = list(self._waiting)
                self._waiting.clear()
            try:
                self._store.add(batch)
            except Exception:  # of whatever kind: an error of the database's driver is no reason to lose them
                with self._guard:
                    self._waiting = deque([*batch, *self._waiting], maxlen=_MAX_WAITING)
                raise
