"""The server's clock: at every tick one of its processes checks the models, exactly once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from storage.db.scheduler_runs import SchedulerRuns
from storage.db.tables import utc_now
from storage.filesystem.locks import ProcessLock
from storage.repeated_warning import RepeatedWarning
from storage.times import from_microseconds, to_microseconds

POLL_SECONDS: Final = 1.0


def leader_lock(run_dir: Path) -> ProcessLock:
    """Return the lock of the process that checks the models; its death frees the lock at once."""
    return ProcessLock(run_dir / "locks" / "schedule")


class Scheduler:
    """Runs a job at every tick if this process is the leader. Every web worker has a scheduler.

    Ticks are whole multiples of the interval since 1970, so that all processes count the same. A tick that was
    missed while no server ran is made up for once, however many were.

    Parameters
    ----------
    job : callable
        Gets the name of the tick; the same name again if a process died during it.
    clock : callable
        Returns the present instant, with a time zone.
    """

    def __init__(
        self,
        lock: ProcessLock,
        runs: SchedulerRuns,
        interval: timedelta,
        job: Callable[[str], object],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._lock = lock
        self._runs = runs
        self._interval = interval
        self._job = job
        self._clock = clock
        self._is_leader = False
        self._last_tick: int | None = None

    def run(self, stopping: threading.Event, poll_seconds: float = POLL_SECONDS) -> None:
        """Run what is pending, again and again, until ``stopping`` is set."""
        postponed = RepeatedWarning("scheduler_run_postponed")
        try:
            while not stopping.wait(poll_seconds):
                with postponed.catch():
                    self.run_pending()
                    postponed.end()
        finally:
            self.stop()

    def run_pending(self) -> bool:
        """Run the job if a tick is due and this process is, or can become, the leader; return whether it ran."""
        self._is_leader = self._is_leader or self._lock.acquire()
        tick = tick_of(self._clock(), self._interval)
        if not self._is_leader or tick == self._last_tick:
            return False
        is_due = self._runs.begin(tick, self._clock())
        if is_due:
            self._job(f"{from_microseconds(tick):%Y-%m-%dT%H:%M:%S.%fZ}")
            self._runs.end(tick, self._clock())
        self._last_tick = tick
        return is_due

    def stop(self) -> None:
        """Let another process become the leader."""
        if self._is_leader:
            self._is_leader = False
            self._lock.release()


def tick_of(instant: datetime, interval: timedelta) -> int:
    """Return the last tick at an instant, in microseconds since 1970."""
    width = max(1, interval // timedelta(microseconds=1))
    return to_microseconds(instant.astimezone(UTC)) // width * width
