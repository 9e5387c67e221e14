"""What a worker does between requests: send heartbeats, reload champions, train first models, run the schedule."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import structlog

from api.http.idempotency import KEY_UPDATES
from api.training.event_stream import WaitSlots
from errors import MillwrightError, NoChampion, describe_error
from prediction import registry
from prediction.contract import ModelKey
from storage.db.tables import utc_now
from storage.filesystem.locks import ProcessLock
from storage.repeated_warning import RepeatedWarning
from training_manager import TrainingManager

log = structlog.get_logger()

BACKGROUND = "millwright.background"
# A promoted version serves in every worker within this time; reading the epoch file costs 10 µs.
POLL_SECONDS = 0.05
HEARTBEAT_SECONDS = 5.0
# A pre-warmed process imports for seconds on a whole core: it starts only when requests have paused.
IDLE_SECONDS = 3.0
# New backups are looked for this often; between two of them, drills pause so that they take a fraction of a core.
DRILL_POLL_SECONDS = 300.0
DRILL_PAUSE_SECONDS = 10.0
# Readings that wait although a sensor has their tag are looked for this often: one query where none waits.
ADOPT_POLL_SECONDS = 5.0
# Lost caches are looked for this often; between two parts that are computed, requests have the processor.
REBUILD_POLL_SECONDS = 5.0
REBUILD_PAUSE_SECONDS = 0.2


class Background:
    """The threads of one worker. None runs before `start`."""

    def __init__(self, manager: TrainingManager, slots: WaitSlots) -> None:
        self.stopping = slots.stopping
        self._manager = manager
        self._first_training: threading.Thread | None = None
        self._is_recovered = True

    def start(self) -> None:
        """Recover from a crash, then start the threads; no request is served before."""
        self._is_recovered = self._manager.recover()
        self._first_training = self._start_thread("first-training", self._train_first_models)
        self._start_thread("heartbeat", self._send_heartbeats)
        # It checks the models at every tick, if this worker becomes the leader.
        if (scheduler := self._manager.monitor.create_scheduler()) is not None:
            self._start_thread("schedule", partial(scheduler.run, self.stopping))
        self._start_thread("restore-drills", self._run_drills)
        self._start_thread("notifier", partial(self._manager.alarms.create_notifier().run, self.stopping))
        self._start_thread("caches", self._rebuild_caches)
        self._start_thread("waiting-readings", self._adopt_waiting_readings)

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

    def _run_drills(self) -> None:
        """Open the backups that are due, one after the other, if no other worker does."""
        lock = ProcessLock(self._manager.settings.run_dir / "locks" / "drill-schedule")
        postponed = RepeatedWarning("drill_schedule_postponed")
        drilled: str | None = None
        while not self.stopping.wait(DRILL_PAUSE_SECONDS if drilled else DRILL_POLL_SECONDS):
            drilled = None
            with postponed.catch():
                if not lock.acquire():
                    continue
                try:
                    drilled = self._manager.restore_drills.run_due(utc_now())
                finally:
                    lock.release()
                postponed.end()

    def _rebuild_caches(self) -> None:
        """Compute again what models lack because a cache was deleted, or not copied with its home."""
        lock = ProcessLock(self._manager.settings.run_dir / "locks" / "caches")
        failed = RepeatedWarning("caches_not_rebuilt")
        pause = REBUILD_POLL_SECONDS
        while not self.stopping.wait(pause):
            pause = DRILL_POLL_SECONDS  # after a failure
            with failed.catch():
                may_compute = lock.acquire()
                try:
                    has_more = self._manager.model_cache.rebuild(may_compute)
                finally:
                    if may_compute:
                        lock.release()
                pause = REBUILD_PAUSE_SECONDS if has_more else REBUILD_POLL_SECONDS
                failed.end()

    def _adopt_waiting_readings(self) -> None:
        """Store readings that could not be stored when a sensor got their tag."""
        postponed = RepeatedWarning("waiting_readings_not_adopted")
        while not self.stopping.wait(ADOPT_POLL_SECONDS):
            with postponed.catch():
                if readings := self._manager.sensors.waiting.adopt_due():
                    log.info("waiting_readings_adopted", readings=readings)
                postponed.end()

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
                log.warning("champion_not_loaded", family=family, reason=describe_error(error))

    def _send_heartbeats(self) -> None:
        missed = RepeatedWarning("heartbeat_missed")
        heartbeat: _Heartbeat | None = None
        while not self.stopping.is_set():
            with missed.catch():
                heartbeat = heartbeat or _Heartbeat(self._manager)
                if heartbeat.run_once():
                    if not self._is_recovered:
                        self._is_recovered = self._manager.recover()  # the disk has space again
                    missed.end()
            self.stopping.wait(POLL_SECONDS)


class _Heartbeat:
    """The row of this worker in the table of workers."""

    def __init__(self, manager: TrainingManager) -> None:
        self._manager = manager
        self._epoch = manager.models.epoch()
        self._pending = RepeatedWarning("commit_pending")
        self._sent_at = float("-inf")

    def run_once(self) -> bool:
        """Reload champions where the epoch has risen, and update the row where that, or time, asks for it.

        Returns
        -------
        bool
            Whether the row was updated.
        """
        manager = self._manager
        try:
            manager.system.finish_pending_commit()
            self._pending.end()
        except MillwrightError as error:  # health says so; the heartbeat goes on
            self._pending.note(error)
        epoch = manager.models.epoch()
        if epoch != self._epoch:
            must_reload_all = manager.models.reload_epoch() > self._epoch
            if must_reload_all:
                manager.model_cache.reload_all()
            else:
                manager.model_cache.refresh()
            for key, reason in manager.model_cache.failures().items():
                log.error("reload_failed", model=str(key), tenant=key.tenant, reason=reason)
            self._epoch = epoch
        elif time.monotonic() - self._sent_at < HEARTBEAT_SECONDS:
            return False
        self._sent_at = time.monotonic()  # where the database refuses, the next attempt is not made at once
        KEY_UPDATES.retry()
        manager.executor.ensure_warm_processes(IDLE_SECONDS)
        failures = {key.path: reason for key, reason in manager.model_cache.failures().items()}
        manager.workers.heartbeat(epoch, failures)
        return True
