"""What a worker does between requests: it beats, loads again when told to, and starts the first training."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from api.training.event_stream import StreamSlots
from errors import MillwrightError, NoChampion
from prediction import registry
from prediction.contract import ModelKey
from storage.db.scheduler_runs import SchedulerRuns
from storage.filesystem import process_identity
from training.monitoring.scheduler import Scheduler, leader_lock
from training_manager import TrainingManager

log = structlog.get_logger()

BACKGROUND = "millwright.background"
POLL_SECONDS = 0.05
BEAT_SECONDS = 5.0
QUIET_SECONDS = 3.0


class Background:
    """The threads of one worker. Until `start` is called there are none, and nothing is under way."""

    def __init__(self, manager: TrainingManager, readers: StreamSlots) -> None:
        self.stopping = readers.stopping
        self._manager = manager
        self._first_training: threading.Thread | None = None

    def start(self) -> None:
        """Finish what a crash left, then begin to beat, and train what has never been trained."""
        self._recover()
        self._first_training = threading.Thread(target=self._begin, name="first-training", daemon=True)
        self._first_training.start()
        threading.Thread(target=self._beat_on, name="heartbeat", daemon=True).start()
        self._start_schedule()

    def stop(self) -> None:
        """Refuse new work, let running sessions end within the grace, then interrupt them."""
        self.stopping.set()
        self._manager.close()

    def _start_schedule(self) -> None:
        """Look after the models at every tick, if this worker becomes the leader."""
        storage = self._manager.storage
        hours = storage.settings.monitoring_interval_hours
        if hours:
            lock, looks = leader_lock(storage.settings.run_dir), SchedulerRuns(storage.database)
            clockwork = Scheduler(lock, looks, timedelta(hours=hours), self._manager.watch.check)
            threading.Thread(
                target=clockwork.run, args=(self.stopping,), name="schedule", daemon=True
            ).start()

    def first_training_runs(self) -> bool:
        """Whether a champion may appear by itself soon: this worker, or another, is making the first one."""
        return self._first_training is not None and self._first_training.is_alive()

    def _recover(self) -> None:
        """Nobody is served before. Where the disk refuses, whoever next takes the store lock tries again."""
        try:
            self._manager.recover()
        except MillwrightError as error:
            log.error("recovery_postponed", reason=error.message, code=error.code)

    def _begin(self) -> None:
        try:
            self._load_champions()
            self._manager.train_first_models()
            self._load_champions()
        except MillwrightError as error:
            log.warning("first_training_failed", reason=error.message, code=error.code)
        except Exception:
            log.exception("first_training_failed")

    def _load_champions(self) -> None:
        """Load what will be asked first, so that the first request does not wait for it."""
        live = self._manager.live
        for family in registry.FAMILIES:
            try:
                live.current(ModelKey(family))
                registry.load_predictor(family).warm_up(live.resources)
            except NoChampion:
                continue
            except Exception as error:  # who asks is told; other families have nothing to do with it
                log.warning("champion_not_loaded", family=family, reason=str(error))

    def _beat_on(self) -> None:
        beat = _Heartbeat(self._manager)
        while not self.stopping.is_set():
            try:
                beat.once()
            except MillwrightError as error:
                log.warning("heartbeat_missed", reason=error.message)
            except Exception:
                log.exception("heartbeat_missed")
            self.stopping.wait(POLL_SECONDS)


class _Heartbeat:
    """The row of this worker in the table of workers."""

    def __init__(self, manager: TrainingManager) -> None:
        self._manager = manager
        self._storage = manager.storage
        self._pid, self._started = os.getpid(), process_identity.own_start_time()
        self._epoch = self._storage.versions.epoch()
        self._error: str | None = None
        self._told_at = float("-inf")

    def once(self) -> None:
        epoch = self._storage.versions.epoch()
        if epoch != self._epoch:
            live, everything = self._manager.live, self._storage.versions.reload_epoch() > self._epoch
            self._error = self._loaded(live.reload_all if everything else live.refresh)
            self._epoch = epoch
        elif time.monotonic() - self._told_at < BEAT_SECONDS:
            return
        self._manager.executor.ensure_warm_processes(QUIET_SECONDS)
        complaint = self._error or next(iter(self._manager.live.issues()), None)
        self._storage.workers.heartbeat(self._pid, self._started, epoch, complaint)
        self._told_at = time.monotonic()

    def _loaded(self, load: Callable[[], None]) -> str | None:
        try:
            load()
        except MillwrightError as error:
            log.error("reload_failed", reason=error.message)
            return error.message
        return None
