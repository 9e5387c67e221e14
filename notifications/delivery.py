"""Deliver what waits on one route, in order, until nothing is due or the route fails."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from notifications.channels import Channel, DeliveryFailed, send_message
from notifications.messages import build_message
from storage.alarms.deliveries import Deliveries, Delivery
from storage.alarms.routes import AlarmRoute, AlarmRoutes
from storage.db.tables import utc_now

log = structlog.get_logger()

_BATCH_SIZE: Final = 500
# Alarms that share a message, at most.
MAX_GROUP: Final = 100
# What was sent and not yet recorded is sent again after a crash: few messages, and few transactions.
_MAX_UNRECORDED: Final = 100
_MAX_UNRECORDED_SECONDS: Final = 1.0
# A changed route is noticed within this time: to look before each message would halve how many go in a second.
CHECK_SECONDS: Final = 0.25
_FIRST_PAUSE_SECONDS: Final = 2.0
_MAX_PAUSE_SECONDS: Final = 900.0
_MAX_REFUSALS: Final = 8


def pause_after(failures: int, random_share: float) -> timedelta:
    """Return how long to wait after so many failures in a row: doubled each time, half of it by chance.

    Chance keeps the routes of many servers from meeting a receiver that has just recovered all at once.
    """
    longest = min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20))
    return timedelta(seconds=longest * (0.5 + 0.5 * random_share))


@dataclass(frozen=True)
class RouteDelivery:
    """The delivery along one route.

    Parameters
    ----------
    max_age : timedelta
        A delivery that is older when it fails is dead, and no longer in the way of later ones.
    """

    routes: AlarmRoutes
    deliveries: Deliveries
    max_age: timedelta
    stopping: threading.Event
    clock: Callable[[], datetime] = utc_now

    def run(self, route: AlarmRoute, channel: Channel) -> None:
        """Send everything that is due; return when nothing is, or when the route has to wait."""
        while not self.stopping.is_set():
            due = self.deliveries.due(route.id, self.clock(), _BATCH_SIZE)
            if not due or not self._send_all(route, channel, due):
                return

    def _is_current(self, route: AlarmRoute) -> bool:
        """Return whether a route is as it was read: a person may have changed, disabled or deleted it."""
        return self.routes.find(route.id) == route

    def _send_all(self, route: AlarmRoute, channel: Channel, due: Sequence[Delivery]) -> bool:
        """Send messages; return whether the route may go on."""
        sent: list[int] = []
        recorded_at, checked_at = time.monotonic(), -math.inf
        refused: set[str] = set()
        groups = deque(_split(due, MAX_GROUP if route.group_seconds else 1))
        try:
            while groups:
                group = groups.popleft()
                if self.stopping.is_set():
                    return False
                if time.monotonic() - checked_at >= CHECK_SECONDS:
                    if not self._is_current(route):
                        return False
                    checked_at = time.monotonic()
                if refused & {delivery.alarm["subject"] for delivery in group}:
                    continue
                try:
                    send_message(channel, build_message(route.id, [delivery.alarm for delivery in group]))
                except DeliveryFailed as failure:
                    self._record(route, sent)  # before the failure, which a success would take back
                    if failure.is_message_refused and len(group) > 1:
                        # One alarm may be the reason: each goes alone, so that it takes no other along.
                        groups.extendleft([delivery] for delivery in reversed(group))
                        continue
                    if not self._record_failure(route, group, failure):
                        return False
                    refused |= {delivery.alarm["subject"] for delivery in group}
                    continue
                sent += [delivery.id for delivery in group]
                if len(sent) >= _MAX_UNRECORDED or time.monotonic() - recorded_at > _MAX_UNRECORDED_SECONDS:
                    self._record(route, sent)
                    recorded_at = time.monotonic()
        finally:
            self._record(route, sent)
        return True

    def _record(self, route: AlarmRoute, sent: list[int]) -> None:
        if sent:
            self.deliveries.record_delivered(sent)
            self.routes.record_success(route.id)
            sent.clear()

    def _record_failure(self, route: AlarmRoute, group: Sequence[Delivery], failure: DeliveryFailed) -> bool:
        """Record that a message did not arrive; return whether others may."""
        now, reason, first = self.clock(), str(failure), group[0]
        is_refused = failure.is_message_refused
        dead = [
            delivery.id
            for delivery in group
            if now - delivery.created_at > self.max_age
            or (is_refused and delivery.attempts + 1 >= _MAX_REFUSALS)
        ]
        log.warning(
            "alarm_not_delivered",
            route_id=route.id,
            alarm_id=first.alarm["id"],
            attempts=first.attempts + 1,
            dead=len(dead),
            reason=reason,
        )
        due_at = None
        if is_refused:
            due_at = now + (failure.retry_after or pause_after(first.attempts + 1, random.random()))
        self.deliveries.record_failed([delivery.id for delivery in group], reason, due_at, dead=dead)
        if is_refused:
            return True
        current = self.routes.get(route.tenant, route.id)["failures"] + 1
        pause = failure.retry_after or pause_after(current, random.random())
        self.routes.record_failure(route.id, current, now + pause, reason)
        return False


def _split(due: Sequence[Delivery], size: int) -> Iterator[Sequence[Delivery]]:
    for start in range(0, len(due), size):
        yield due[start : start + size]
