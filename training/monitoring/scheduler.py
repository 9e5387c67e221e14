"""The clock of the server: at every tick one of its processes looks at the models, exactly once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from errors import MillwrightError
from storage.db.scheduler_runs import SchedulerRuns
from storage.db.tables import utc_now
from storage.filesystem.locks import ProcessLock
from storage.sensors.readings import from_microseconds, to_microseconds

log = structlog.get_logger()

POLL_S: Final = 1.0


def leader_lock(run_dir: Path) -> ProcessLock:
    """Held by the process that looks after the models; its death frees the lock at once."""
    return ProcessLock(run_dir / "locks" / "schedule.lock")


class Scheduler:
    """Every worker has one; the one that holds the lock is the leader and looks.

    Ticks lie at whole multiples of the period since 1970, so every process counts the same. A tick that was
    missed while no server ran is made up for once, however many were.

    Parameters
    ----------
    period : timedelta
        From one tick to the next.
    look : callable
        What is done at a tick; gets the tick's name, and the same one again where its process died over it.
    clock : callable
        This instant, aware.
    """

    def __init__(
        self,
        lock: ProcessLock,
        looks: SchedulerRuns,
        period: timedelta,
        look: Callable[[str], Any],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._lock = lock
        self._looks = looks
        self._period = period
        self._look = look
        self._clock = clock
        self._leads = False
        self._done: int | None = None

    def run(self, stopping: threading.Event, poll_s: float = POLL_S) -> None:
        """Look at every tick while this process leads, until told to stop."""
        try:
            while not stopping.wait(poll_s):
                self._patiently()
        finally:
            self.stop()

    def once(self) -> bool:
        """Look if this process leads, or can, and a tick is due; whether it has looked."""
        self._leads = self._leads or self._lock.acquire()
        tick = tick_of(self._clock(), self._period)
        if not self._leads or tick == self._done:
            return False
        looks = self._looks.begin(tick, self._clock())
        if looks:
            self._look(f"{from_microseconds(tick):%Y-%m-%dT%H:%M:%S.%fZ}")
            self._looks.end(tick, self._clock())
        self._done = tick
        return looks

    def stop(self) -> None:
        """Let another process lead."""
        if self._leads:
            self._leads = False
            self._lock.release()

    def _patiently(self) -> None:
        try:
            self.once()
        except MillwrightError as error:
            log.warning("look_postponed", reason=error.message)
        except Exception:
            log.exception("look_failed")


def tick_of(instant: datetime, period: timedelta) -> int:
    """The last tick at an instant, in microseconds since 1970."""
    width = max(1, period // timedelta(microseconds=1))
    return to_microseconds(instant.astimezone(UTC)) // width * width
