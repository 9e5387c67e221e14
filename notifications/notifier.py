"""The notifier: one process of a server gives alarms to routes and delivers them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from notifications.channels import Channel, close_channel
from notifications.delivery import RouteDelivery, pause_after
from notifications.quiet_hours import hold_until
from settings import Settings
from storage.alarms.routes import AlarmRoute
from storage.alarms.stores import AlarmStores
from storage.db.tables import utc_now
from storage.filesystem.locks import ProcessLock
from storage.repeated_warning import RepeatedWarning

POLL_SECONDS: Final = 0.5
_CHECK_SECONDS: Final = 30.0
_CLEAN_SECONDS: Final = 3_600.0
_IDLE_SECONDS: Final = 60.0
# After errors of the notifier itself the pause doubles up to this; then the database may be back.
_MAX_PAUSE_SECONDS: Final = 30.0
# So long after the last check of all conditions, health says that they cannot be checked.
_MAX_UNCHECKED_SECONDS: Final = 300.0
# A message on its way has its own deadline; a server that stops does not wait longer for it.
_STOP_SECONDS: Final = 3.0


def notifier_lock(run_dir: Path) -> ProcessLock:
    """Return the lock of the process that delivers alarms; its death frees the lock at once."""
    return ProcessLock(run_dir / "locks" / "notifier")


def find_unchecked(run_dir: Path) -> datetime | None:
    """Return since when the conditions of this server could not be checked; None where they can, or nobody does."""
    try:
        checked_at = datetime.fromtimestamp(_check_mark(run_dir).stat().st_mtime, UTC)
    except FileNotFoundError:
        return None
    return checked_at if utc_now() - checked_at > timedelta(seconds=_MAX_UNCHECKED_SECONDS) else None


def _check_mark(run_dir: Path) -> Path:
    """Return the file whose time is that of the last check: health is asked in every process."""
    return run_dir / "alarms-checked"


@dataclass
class _Worker:
    """The open channel of a route, and the thread that uses it now.

    What was sent and could not be recorded would be sent again with every poll: ``resume_at`` prevents that.
    """

    route: AlarmRoute
    channel: Channel
    thread: threading.Thread | None = None
    used_at: float = 0.0
    failures: int = 0
    resume_at: float = 0.0

    def pause(self) -> None:
        """Wait longer after each failure that no row of the database can hold, as when it takes no writes."""
        self.failures += 1
        self.resume_at = time.monotonic() + pause_after(self.failures, random.random()).total_seconds()

    def is_busy(self) -> bool:
        return self.thread is not None and self.thread.is_alive()


class Notifier:
    """Delivers alarms if this process is, or can become, the one that does. Every web worker has a notifier.

    Parameters
    ----------
    check_conditions : callable
        Raises the alarms of lasting conditions; returns whether all of them could be checked.
    open_channel : callable
        Returns the channel of a route.
    """

    def __init__(
        self,
        settings: Settings,
        stores: AlarmStores,
        check_conditions: Callable[[], bool],
        open_channel: Callable[[AlarmRoute], Channel],
    ) -> None:
        self._settings = settings
        self._routes = stores.routes
        self._deliveries = stores.deliveries
        self._alarms = stores.alarms
        self._check_conditions = check_conditions
        self._open_channel = open_channel
        self._lock = notifier_lock(settings.run_dir)
        self._check_mark = _check_mark(settings.run_dir)
        self._is_leader = False
        self._workers: dict[int, _Worker] = {}
        self._due_at: dict[Callable[[], None], float] = {}
        self._unchecked = RepeatedWarning("alarm_conditions_not_checked")
        self._postponed: dict[int, RepeatedWarning] = {}

    def run(self, stopping: threading.Event, poll_seconds: float = POLL_SECONDS) -> None:
        """Deliver alarms until ``stopping`` is set."""
        postponed = RepeatedWarning("alarms_postponed")
        pause = poll_seconds
        try:
            while not stopping.wait(pause):
                pause = min(2 * pause, _MAX_PAUSE_SECONDS)
                with postponed.catch():
                    self.run_once(stopping)
                    pause = poll_seconds
                    postponed.end()
        finally:
            self.stop()

    def run_once(self, stopping: threading.Event) -> None:
        """Do what is due now, if this process is the one; messages are sent by a thread of each route."""
        if not self._is_leader and not self._lead():
            return
        self._every(_CHECK_SECONDS, self._check)
        routes = self._routes.list_enabled()
        while self._deliveries.route_waiting(routes, hold_until) and not stopping.is_set():
            pass
        self._close_channels({route.id: route for route in routes})
        for route in routes:
            if route.retry_at is None or route.retry_at <= utc_now():
                with self._postponed_of(route.id).catch():  # no route keeps another from delivering
                    self._start(route, stopping)
        self._every(_CLEAN_SECONDS, self._delete_old)

    def stop(self) -> None:
        """Let another process deliver."""
        deadline = time.monotonic() + _STOP_SECONDS
        for worker in self._workers.values():
            if worker.thread is not None:
                worker.thread.join(max(0.0, deadline - time.monotonic()))
        if self._is_leader:
            self._is_leader = False
            self._check_mark.unlink(missing_ok=True)
            self._lock.release()

    def _lead(self) -> bool:
        """Become the process that delivers, if there is none; its checks are due from now on."""
        self._is_leader = self._lock.acquire()
        if self._is_leader:
            self._check_mark.touch()
        return self._is_leader

    def _check(self) -> None:
        """Check the conditions; what fails in that keeps no alarm from being delivered, and health tells of it."""
        with self._unchecked.catch():
            if self._check_conditions():
                self._check_mark.touch()
            self._unchecked.end()

    def _start(self, route: AlarmRoute, stopping: threading.Event) -> None:
        """Deliver along a route in its own thread, so that a receiver that hangs delays no other route."""
        worker = self._workers.get(route.id)
        if worker is not None and (worker.is_busy() or time.monotonic() < worker.resume_at):
            return
        if not self._deliveries.due(route.id, utc_now(), 1):
            return
        if worker is None:
            worker = self._workers[route.id] = _Worker(route, self._open_channel(route))
        max_age = timedelta(hours=self._settings.alarm_retry_hours)
        delivery = RouteDelivery(self._routes, self._deliveries, max_age, stopping)
        name = f"alarm-route-{route.id}"
        arguments = (delivery, route, worker)
        worker.thread = threading.Thread(target=self._deliver, args=arguments, name=name, daemon=True)
        worker.thread.start()

    def _deliver(self, delivery: RouteDelivery, route: AlarmRoute, worker: _Worker) -> None:
        postponed = self._postponed_of(route.id)
        with postponed.catch():  # the route was deleted, or the database is away, say
            delivery.run(route, worker.channel)
            worker.failures = 0
            postponed.end()
        if postponed.reason:
            worker.pause()
        worker.used_at = time.monotonic()

    def _postponed_of(self, route_id: int) -> RepeatedWarning:
        return self._postponed.setdefault(route_id, RepeatedWarning("alarms_postponed", route_id=route_id))

    def _close_channels(self, routes: dict[int, AlarmRoute]) -> None:
        """Close the channels of routes that have gone, were changed, or have had nothing to send for a while."""
        for route_id, worker in list(self._workers.items()):
            if worker.is_busy():
                continue
            is_idle = time.monotonic() - max(worker.used_at, worker.resume_at) > _IDLE_SECONDS
            if routes.get(route_id) != worker.route or is_idle:
                del self._workers[route_id]
                close_channel(worker.channel)

    def _delete_old(self) -> None:
        self._alarms.delete_old(utc_now() - timedelta(days=self._settings.alarm_retention_days))

    def _every(self, seconds: float, job: Callable[[], None]) -> None:
        if time.monotonic() >= self._due_at.get(job, 0.0):
            self._due_at[job] = time.monotonic() + seconds  # first: a job that fails must not stop deliveries
            job()
