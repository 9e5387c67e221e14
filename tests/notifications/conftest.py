"""Routes to a receiver, over a database of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifications.address_policy import AddressPolicy, parse_networks
from notifications.channels import Channel, close_channel, open_channel
from notifications.delivery import RouteDelivery
from notifications.quiet_hours import hold_until
from storage.alarms import Alarm, record_alarms
from storage.alarms.deliveries import Deliveries
from storage.alarms.routes import AlarmRoute, AlarmRoutes
from storage.db.database import Database
from storage.db.tables import utc_now
from tests.notifications.receiver import Receiver, receive

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LOCAL = parse_networks(["127.0.0.0/8"])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receive() as started:
        yield started


class Plant:
    """A database with routes; ``clock`` can be set forward."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder / 'test.db'}", folder)
        self.database.migrate()
        self.routes, self.deliveries = AlarmRoutes(self.database), Deliveries(self.database)
        self.ahead = timedelta(0)
        self.policy: AddressPolicy = LOCAL

    def add_route(self, url: str, **changes: object) -> AlarmRoute:
        filters = {"events": [], "families": [], "subjects": [], "min_severity": "Low", "group_seconds": 0}
        row = {"name": "line 1", "kind": "webhook", "url": url, "secret": SECRET, "enabled": True}
        route_id = self.routes.create("default", {**filters, **row, **changes})
        return self.route(route_id)

    def route(self, route_id: int) -> AlarmRoute:
        return AlarmRoute.from_row(self.routes.get("default", route_id))

    def raise_alarms(self, *subjects: str, **changes: Any) -> None:
        with self.database.write() as connection:
            first = Alarm("default", "anomaly.opened", "High", "sensors", "", "Spike")
            alarms = [
                replace(first, subject=subject, data={"number": number}, **changes)
                for number, subject in enumerate(subjects)
            ]
            record_alarms(connection, alarms)

    def deliver(self, route: AlarmRoute, channel: Channel | None = None) -> None:
        """Route what waits, and deliver what is due along one route, by its own channel or another."""
        while self.deliveries.route_waiting(self.routes.list_enabled(), hold_until):
            pass
        channel = channel or open_channel(route, self.policy)
        clock = lambda: utc_now() + self.ahead  # noqa: E731
        delivery = RouteDelivery(self.routes, self.deliveries, timedelta(hours=24), threading.Event(), clock)
        try:
            delivery.run(self.route(route.id), channel)
        finally:
            close_channel(channel)

    def states(self) -> dict[str, int]:
        return self.deliveries.count_by_state("default")


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    plant = Plant(tmp_path)
    yield plant
    plant.database.close()
