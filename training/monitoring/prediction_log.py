"""Predictions on their way into the database, so that no request waits for a disk or fails with it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

import structlog

from errors import MillwrightError
from prediction import registry
from prediction.contract import JSON, ModelKey
from prediction.serving import LoadedModel
from storage.devices.predictions import Prediction, Predictions, PredictionSource

log = structlog.get_logger()

_MAX_WAITING: Final = 100_000
_FLUSH_INTERVAL_SECONDS: Final = 0.5


class PredictionBuffer:
    """A buffer of predictions about devices, flushed twice a second by a thread of its own.

    The thread starts with the first prediction. Where the database refuses, predictions wait, and the oldest
    are lost when too many do. A killed process loses half a second of them: they serve statistics only.
    """

    def __init__(self, store: Predictions) -> None:
        self._store = store
        self._waiting: deque[tuple[PredictionSource, Prediction]] = deque(maxlen=_MAX_WAITING)
        self._guard = threading.Lock()
        self._flushing = threading.Lock()
        self._writer: threading.Thread | None = None

    def add(self, key: ModelKey, model: LoadedModel, answers: Sequence[JSON]) -> None:
        """Buffer the answers that can be compared with what will come."""
        monitor = registry.load_monitor(key.family)
        predictions = monitor.predictions_to_log(model.predictor, answers) if monitor else []
        if predictions:
            source = PredictionSource(key.tenant, key.family, key.name, model.number)
            with self._guard:
                self._waiting.extend((source, prediction) for prediction in predictions)
                if self._writer is None:
                    self._writer = threading.Thread(target=self._write, name="prediction-log", daemon=True)
                    self._writer.start()

    def flush(self) -> None:
        """Write what is waiting.

        Raises
        ------
        MillwrightError
            The database refuses; everything goes on waiting.
        """
        with self._flushing:
            with self._guard:
                batch = list(self._waiting)
                self._waiting.clear()
            try:
                self._store.add(batch)
            except MillwrightError:
                with self._guard:
                    self._waiting = deque([*batch, *self._waiting], maxlen=_MAX_WAITING)
                raise

    def _write(self) -> None:
        while True:
            time.sleep(_FLUSH_INTERVAL_SECONDS)
            try:
                self.flush()
            except MillwrightError as error:
                log.warning("predictions_wait", reason=error.message, waiting=len(self._waiting))
            except Exception:
                log.exception("predictions_lost")
            with self._guard:
                if not self._waiting:
                    self._writer = None
                    return
