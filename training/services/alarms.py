"""Alarms of a home folder: what was raised, where it goes, and what became of it."""

from __future__ import annotations

from typing import Final

from errors import DeliveryRefused
from notifications import (
    Channel,
    DeliveryFailed,
    Notifier,
    check_change,
    check_route,
    close_channel,
    find_unchecked,
    open_channel,
    send_message,
)
from notifications.address_policy import parse_networks
from notifications.messages import build_message
from storage.alarms.routes import AlarmRoute
from storage.alarms.stores import open_alarm_stores
from storage.container import Storage
from storage.db.crud import Row
from storage.db.tables import utc_now
from training.services.alarm_conditions import AlarmConditions

# What a change may leave out, because a client never sees it again.
_WRITE_ONLY: Final = ("url", "secret", "username")


class AlarmService:
    """The alarms, routes and deliveries of all tenants."""

    def __init__(self, storage: Storage, conditions: AlarmConditions) -> None:
        self._stores = open_alarm_stores(storage.database)
        self.alarms = self._stores.alarms
        self.routes = self._stores.routes
        self.deliveries = self._stores.deliveries
        self._conditions = conditions
        self._settings = storage.settings
        self._policy = parse_networks(storage.settings.alarm_private_networks)

    def create_route(self, tenant: str, values: Row) -> int:
        """Store a route and return its id.

        Raises
        ------
        InvalidContent
            Its fields do not belong together.
        """
        check_route(values)
        return self.routes.create(tenant, values)

    def change_route(self, tenant: str, route_id: int, values: Row) -> Row:
        """Change a route; its URL and its secret stay where they are not sent.

        Raises
        ------
        NotFound
            No such route, or another tenant's.
        InvalidContent
            Its fields do not belong together.
        """
        given = {
            name: value for name, value in values.items() if name not in _WRITE_ONLY or value is not None
        }
        before = self.routes.get(tenant, route_id)
        after = {**before, **given}
        check_route(after)
        check_change(before, after, has_new_secret="secret" in given)
        return self.routes.update(tenant, route_id, given)

    def test_route(self, tenant: str, route_id: int) -> None:
        """Send an alarm of severity Low along a route, at once and past its filters.

        Raises
        ------
        NotFound
            No such route, or another tenant's.
        DeliveryRefused
            It did not arrive.
        """
        route = AlarmRoute.from_row(self.routes.get(tenant, route_id))
        channel = self._open(route)
        try:
            send_message(channel, build_message(route.id, [_test_alarm(route)]))
        except DeliveryFailed as failure:
            raise DeliveryRefused(f"The test along {route.name} did not arrive: {failure}") from failure
        finally:
            close_channel(channel)

    def create_notifier(self) -> Notifier:
        """Return what delivers alarms; it does nothing before it runs."""
        return Notifier(self._settings, self._stores, self._conditions.check, self._open)

    def issue(self) -> str | None:
        """Return what keeps alarms of lasting conditions from being raised; None if nothing does."""
        since = find_unchecked(self._settings.run_dir)
        if since is None:
            return None
        return (
            f"Silent sensors, backups and the disk could not be checked for alarms since {since:%Y-%m-%d %H:%M} UTC: "
            "the log says why"
        )

    def _open(self, route: AlarmRoute) -> Channel:
        return open_channel(route, self._policy)


def _test_alarm(route: AlarmRoute) -> Row:
    return {
        "id": 0,
        "event": "route.test",
        "severity": "Low",
        "family": "server",
        "subject": f"alarm-routes/{route.id}",
        "tag": None,
        "incident": f"alarm-routes/{route.id}",
        "message": f"This is a test of the alarm route {route.name}. Nothing is wrong.",
        "data": {},
        "created_at": utc_now(),
    }
