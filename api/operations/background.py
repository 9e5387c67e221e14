"""What a worker does between requests: send heartbeats, reload champions, train first models, run the schedule."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial

import structlog

from api.http.idempotency import KEY_UPDATES
from api.training.event_stream import StreamSlots
from errors import MillwrightError, NoChampion
from prediction import registry
from prediction.contract import ModelKey
from storage.filesystem import process_identity
from training_manager import TrainingManager

log = structlog.get_logger()

BACKGROUND = "millwright.background"
# A promoted version serves in every worker within this time; reading the epoch file costs 10 µs.
POLL_SECONDS = 0.05
HEARTBEAT_SECONDS = 5.0
# A pre-warmed process imports for seconds on a whole core: it starts only when requests have paused.
IDLE_SECONDS = 3.0


class Background:
    """The threads of one worker. None runs before `start`."""

    def __init__(self, manager: TrainingManager, slots: StreamSlots) -> None:
        self.stopping = slots.stopping
        self._manager = manager
        self._first_training: threading.Thread | None = None

    def start(self) -> None:
        """Recover from a crash, then start the threads; no request is served before."""
        try:
            self._manager.recover()
        except MillwrightError as error:
            # Where the disk refuses, whoever next takes the store lock tries again.
            log.error("recovery_postponed", reason=error.message, code=error.code)
        self._first_training = self._start_thread("first-training", self._train_first_models)
        self._start_thread("heartbeat", self._send_heartbeats)
        self._start_schedule()

    def stop(self) -> None:
        """Refuse new work, let running sessions end within the grace period, then interrupt them."""
        self.stopping.set()
        self._manager.close()

    def first_training_runs(self) -> bool:
        """Return whether a champion may appear soon because this worker, or another, trains the first one."""
        return self._first_training is not None and self._first_training.is_alive()

    def _start_thread(self, name: str, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def _start_schedule(self) -> None:
        """Check the models at every tick, if this worker becomes the leader."""
        scheduler = self._manager.monitor.create_scheduler()
        if scheduler is not None:
            self._start_thread("schedule", partial(scheduler.run, self.stopping))

    def _train_first_models(self) -> None:
        try:
            self._load_champions()
            self._manager.train_first_models()
            self._load_champions()
        except MillwrightError as error:
            log.warning("first_training_failed", reason=error.message, code=error.code)
        except Exception:
            log.exception("first_training_failed")

    def _load_champions(self) -> None:
        """Load the default champions, so that the first request does not wait for that."""
        cache = self._manager.model_cache
        for family in registry.FAMILIES:
            try:
                cache.current(ModelKey(family))
                registry.load_predictor(family).warm_up(cache.resources)
            except NoChampion:
                continue
            except Exception as error:  # one family's fault; a request for it gets the error
                log.warning("champion_not_loaded", family=family, reason=str(error))

    def _send_heartbeats(self) -> None:
        heartbeat = _Heartbeat(self._manager)
        while not self.stopping.is_set():
            try:
                heartbeat.run_once()
            except MillwrightError as error:
                log.warning("heartbeat_missed", reason=error.message)
            except Exception:
                log.exception("heartbeat_missed")
            self.stopping.wait(POLL_SECONDS)


class _Heartbeat:
    """The row of this worker in the table of workers."""

    def __init__(self, manager: TrainingManager) -> None:
        self._manager = manager
        self._pid, self._process_start = os.getpid(), process_identity.own_start_time()
        self._epoch = manager.models.epoch()
        self._error: str | None = None
        self._sent_at = float("-inf")

    def run_once(self) -> None:
        """Reload champions where the epoch has risen, and update the row where that, or time, asks for it."""
        manager = self._manager
        try:
            manager.system.finish_pending_commit()
        except MillwrightError as error:  # health says so; the heartbeat goes on
            log.warning("commit_pending", reason=error.message)
        epoch = manager.models.epoch()
        if epoch != self._epoch:
            must_reload_all = manager.models.reload_epoch() > self._epoch
            try:
                if must_reload_all:
                    manager.model_cache.reload_all()
                else:
                    manager.model_cache.refresh()
                self._error = None
            except MillwrightError as error:
                log.error("reload_failed", reason=error.message)
                self._error = error.message
            self._epoch = epoch
        elif time.monotonic() - self._sent_at < HEARTBEAT_SECONDS:
            return
        KEY_UPDATES.retry()
        manager.executor.ensure_warm_processes(IDLE_SECONDS)
        error_text = self._error or next(iter(manager.model_cache.issues()), None)
        manager.workers.heartbeat(self._pid, self._process_start, epoch, error_text)
        self._sent_at = time.monotonic()
