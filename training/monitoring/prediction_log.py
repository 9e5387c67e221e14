"""Answers on their way into the database, so that no request waits for a disk and none fails with it."""

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

_MOST_WAITING: Final = 100_000
_GATHERED_S: Final = 0.5


class PredictionBuffer:
    """What champions have said about devices, written together twice a second by a thread of its own.

    The thread starts with the first answer. Where the database refuses, answers wait, and the oldest
    are lost when too many do. A killed process loses half a second of them: they serve statistics.
    """

    def __init__(self, store: Predictions) -> None:
        self._store = store
        self._waiting: deque[tuple[PredictionSource, Prediction]] = deque(maxlen=_MOST_WAITING)
        self._guard = threading.Lock()
        self._writing = threading.Lock()
        self._writer: threading.Thread | None = None

    def note(self, key: ModelKey, live: LoadedModel, answers: Sequence[JSON]) -> None:
        """Keep what of these answers can be compared with what will come."""
        upkeep = registry.load_monitor(key.family)
        noted = upkeep.predictions_to_log(live.predictor, answers) if upkeep else []
        if noted:
            asker = PredictionSource(key.tenant, key.family, key.name, live.number)
            with self._guard:
                self._waiting.extend((asker, prediction) for prediction in noted)
                self._start()

    def flush(self) -> None:
        """Write what is waiting.

        Raises
        ------
        MillwrightError
            The database refuses; everything waits on.
        """
        with self._writing:
            with self._guard:
                taken = list(self._waiting)
                self._waiting.clear()
            try:
                self._store.add(taken)
            except MillwrightError:
                with self._guard:
                    self._waiting = deque([*taken, *self._waiting], maxlen=_MOST_WAITING)
                raise

    def _start(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="noted-predictions", daemon=True)
            self._writer.start()

    def _write(self) -> None:
        while True:
            time.sleep(_GATHERED_S)
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
