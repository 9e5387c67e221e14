"""Alarms arrive at least once, in the order of their subject, whatever their receiver does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import threading
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from errors import StorageFailed
from notifications import Notifier, delivery, open_channel, webhook
from notifications.address_policy import AddressPolicy
from notifications.delivery import pause_after
from notifications.messages import Message, build_message
from notifications.quiet_hours import hold_until
from settings import Settings
from storage.alarms.stores import open_alarm_stores
from storage.db.tables import utc_now
from tests.notifications.conftest import SECRET, Plant
from tests.notifications.receiver import CLOSED, Receiver
from tests.waiting import eventually


def _numbers(receiver: Receiver) -> list[tuple[str, int]]:
    return [(alarm["subject"], alarm["data"]["number"]) for alarm in receiver.alarms]


def test_a_message_is_signed_as_the_standard_describes(plant: Plant, receiver: Receiver) -> None:
    plant.raise_alarms("sensors/1")
    plant.deliver(plant.add_route(receiver.url))
    (request,) = receiver.requests
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    content = (
        f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    )
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{signature}"
    assert plant.states() == {"delivered": 1}


def test_a_failing_receiver_gets_everything_later_and_in_order(plant: Plant, receiver: Receiver) -> None:
    route = plant.add_route(receiver.url)
    receiver.statuses = [503, 200]
    plant.raise_alarms("sensors/1", "sensors/2", "sensors/1")
    plant.deliver(route)
    stored = plant.routes.get("default", route.id)
    assert (stored["failures"], stored["last_error"]) == (1, "it answered with status 503")
    assert stored["retry_at"] is not None
    plant.deliver(route)
    assert _numbers(receiver)[1:] == [("sensors/1", 0), ("sensors/2", 1), ("sensors/1", 2)]
    assert plant.routes.get("default", route.id)["failures"] == 0


def test_what_arrived_before_a_failure_stays_recorded_and_the_route_waits(
    plant: Plant, receiver: Receiver
) -> None:
    route = plant.add_route(receiver.url)
    receiver.statuses = [200, 503]
    plant.raise_alarms("sensors/1", "sensors/2")
    plant.deliver(route)
    assert plant.states() == {"delivered": 1, "pending": 1}
    stored = plant.routes.get("default", route.id)
    assert (stored["failures"], stored["retry_at"] is not None) == (1, True)


def test_a_refused_message_holds_back_its_subject_only(plant: Plant, receiver: Receiver) -> None:
    route = plant.add_route(receiver.url)
    receiver.statuses = [422, 200]
    plant.raise_alarms("sensors/1", "sensors/1", "sensors/2")
    plant.deliver(route)
    assert _numbers(receiver) == [("sensors/1", 0), ("sensors/2", 2)]
    plant.ahead = timedelta(hours=1)
    plant.deliver(route)
    assert _numbers(receiver)[2:] == [("sensors/1", 0), ("sensors/1", 1)]


def test_what_never_arrives_is_dead_visible_and_can_be_sent_again(plant: Plant, receiver: Receiver) -> None:
    route = plant.add_route(receiver.url)
    receiver.statuses = [500]
    plant.raise_alarms("sensors/1")
    plant.deliver(route)
    plant.ahead = timedelta(hours=25)
    plant.deliver(route)
    (dead,), _ = plant.deliveries.page("default")
    assert (dead["state"], dead["attempts"]) == ("dead", 2)
    plant.deliveries.resend("default", dead["id"])
    receiver.statuses = [200]
    plant.deliver(route)
    assert plant.states() == {"delivered": 1}


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data"])
def test_no_redirect_is_followed(plant: Plant, receiver: Receiver, target: str) -> None:
    route = plant.add_route(receiver.url)
    receiver.statuses, receiver.headers = [302], {"Location": target}
    plant.raise_alarms("sensors/1")
    plant.deliver(route)
    assert plant.routes.get("default", route.id)["last_error"] == (
        "it answered 302, a redirect; redirects are not followed"
    )
    assert plant.states() == {"pending": 1}


def test_a_private_address_is_refused_unless_a_setting_allows_it(plant: Plant, receiver: Receiver) -> None:
    route = plant.add_route(receiver.url.replace("127.0.0.1", "localhost"))
    plant.policy = AddressPolicy()
    plant.raise_alarms("sensors/1")
    plant.deliver(route)
    assert receiver.requests == []
    assert "its address is not a public one" in plant.routes.get("default", route.id)["last_error"]


def test_a_receiver_that_hangs_is_left(
    plant: Plant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_SECONDS", 0.2)
    route = plant.add_route(receiver.url)
    receiver.statuses = [0, 200]
    plant.raise_alarms("sensors/1")
    plant.deliver(route)
    assert plant.states() == {"pending": 1}
    plant.deliver(route)
    assert plant.states() == {"delivered": 1}


def test_a_connection_that_was_closed_while_it_rested_is_no_failure(plant: Plant, receiver: Receiver) -> None:
    route = plant.add_route(receiver.url)
    receiver.statuses = [200, CLOSED, 200]
    plant.raise_alarms("sensors/1", "sensors/2")
    plant.deliver(route)
    assert plant.states() == {"delivered": 2}
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert ids[1] == ids[2]
    receiver.statuses = [CLOSED]
    plant.raise_alarms("sensors/3")
    plant.deliver(route)
    assert len(receiver.requests) == 4
    assert plant.states() == {"delivered": 2, "pending": 1}


@pytest.mark.parametrize("error", [ssl.SSLEOFError, ssl.SSLZeroReturnError])
def test_a_tls_connection_that_was_closed_while_it_rested_is_no_failure(
    plant: Plant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, error: type[ssl.SSLError]
) -> None:
    route = plant.add_route(receiver.url)
    failures: list[ssl.SSLError | None] = [None, error(), None, error(), error()]
    request = HTTPConnection.request

    def fail_or_request(connection: HTTPConnection, *given: Any) -> None:
        if (failure := failures.pop(0)) is not None:
            raise failure
        request(connection, *given)

    monkeypatch.setattr(HTTPConnection, "request", fail_or_request)
    plant.raise_alarms("sensors/1", "sensors/2")
    plant.deliver(route)
    assert plant.states() == {"delivered": 2}
    # A new connection that fails is no longer one that rested.
    failures[:0] = [None]
    plant.raise_alarms("sensors/3", "sensors/4")
    plant.deliver(route)
    assert (failures, plant.states()) == ([], {"delivered": 3, "pending": 1})


def test_a_route_takes_what_its_filters_accept(plant: Plant, receiver: Receiver) -> None:
    route = plant.add_route(
        receiver.url, events=["anomaly.opened"], families=["sensors"], subjects=["TI-*"], min_severity="High"
    )
    plant.raise_alarms("sensors/1", tag="TI-1023.PV")
    plant.raise_alarms("sensors/2", tag="PI-7")
    plant.raise_alarms("sensors/1", tag="TI-1023.PV", severity="Medium")
    plant.raise_alarms("sensors/1", tag="TI-1023.PV", event="anomaly.closed")
    plant.raise_alarms("sensors/1", tag="TI-1023.PV", tenant="other")
    plant.deliver(route)
    assert [alarm["tag"] for alarm in receiver.alarms] == ["TI-1023.PV"]
    assert plant.states() == {"delivered": 1}


def test_grouped_alarms_share_a_message(plant: Plant, receiver: Receiver) -> None:
    route = plant.add_route(receiver.url, group_seconds=60)
    plant.raise_alarms("sensors/1", "sensors/2")
    plant.deliver(route)
    plant.raise_alarms("sensors/3")
    plant.deliver(route)
    assert receiver.requests == []
    plant.ahead = timedelta(seconds=61)
    plant.deliver(route)
    (request,) = receiver.requests
    assert [alarm["subject"] for alarm in request.alarms] == ["sensors/1", "sensors/2", "sensors/3"]


def test_quiet_hours_hold_all_but_critical_alarms_and_keep_the_order(
    plant: Plant, receiver: Receiver
) -> None:
    always = {"start": "00:00", "end": "23:59", "timezone": "UTC"}
    route = plant.add_route(receiver.url, quiet_hours=always)
    plant.raise_alarms("sensors/1", "sensors/2")
    plant.deliver(route)
    assert receiver.requests == []
    plant.raise_alarms("sensors/1", severity="Critical", event="anomaly.escalated")
    plant.deliver(route)
    told = [(alarm["subject"], alarm["event"]) for alarm in receiver.alarms]
    assert told == [("sensors/1", "anomaly.opened"), ("sensors/1", "anomaly.escalated")]
    plant.ahead = timedelta(days=1)
    plant.deliver(route)
    assert receiver.alarms[-1]["subject"] == "sensors/2"


def test_pauses_double_up_to_a_limit() -> None:
    assert [pause_after(n, 1.0).total_seconds() for n in (1, 2, 3, 50)] == [2.0, 4.0, 8.0, 900.0]
    assert pause_after(3, 0.0).total_seconds() == 4.0


def test_a_fresh_alarm_does_not_die_with_an_old_one_of_its_group(plant: Plant, receiver: Receiver) -> None:
    route = plant.add_route(receiver.url, group_seconds=60)
    receiver.statuses = [500]
    plant.raise_alarms("sensors/1", "sensors/2")
    while plant.deliveries.route_waiting([route], hold_until):
        pass
    first, second = plant.deliveries.page("default")[0]
    plant.deliveries.update("default", first["id"], {"created_at": utc_now() - timedelta(hours=24)})
    plant.ahead = timedelta(seconds=61)
    plant.deliver(route)
    states = [plant.deliveries.get("default", row["id"])["state"] for row in (first, second)]
    assert states == ["dead", "pending"]


def test_one_alarm_that_is_refused_holds_back_no_other_of_its_group(plant: Plant, receiver: Receiver) -> None:
    route = plant.add_route(receiver.url, group_seconds=60)
    receiver.statuses = [422, 200, 422, 200]
    plant.raise_alarms("sensors/1", "sensors/2", "sensors/3")
    plant.deliver(route)
    plant.ahead = timedelta(seconds=61)
    plant.deliver(route)
    assert [len(request.alarms) for request in receiver.requests] == [3, 1, 1, 1]
    assert plant.states() == {"delivered": 2, "pending": 1}


@pytest.mark.parametrize("change", [{"enabled": False}, {"url": "https://example.com/elsewhere"}, None])
def test_a_route_that_was_changed_meanwhile_sends_nothing_more(
    plant: Plant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, change: dict[str, object] | None
) -> None:
    monkeypatch.setattr(delivery, "CHECK_SECONDS", 0.0)
    route = plant.add_route(receiver.url)
    plant.raise_alarms(*(f"sensors/{number}" for number in range(5)))

    def change_route() -> None:
        if change is None:
            plant.routes.delete("default", route.id)
        else:
            plant.routes.update("default", route.id, change)

    receiver.on_request = change_route
    plant.deliver(route)
    assert len(receiver.requests) == 1


def test_each_test_of_a_route_and_each_server_has_message_ids_of_its_own() -> None:
    row = dict.fromkeys(("event", "severity", "family", "subject", "tag", "incident", "message", "data"))
    now = utc_now()
    same = [build_message(1, [{**row, "id": 0, "created_at": now}]).id for _ in range(2)]
    other = build_message(1, [{**row, "id": 0, "created_at": now + timedelta(milliseconds=1)}]).id
    assert same[0] == same[1] != other


class _BrokenChannel:
    """A channel with a fault of its own, which it has when it is closed as well."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault
        self.sent = self.closed = 0

    def send(self, message: Message) -> None:
        self.sent += 1
        raise self.fault

    def close(self) -> None:
        self.closed += 1
        raise self.fault


@pytest.mark.parametrize(
    "fault", [TypeError("a fault"), StorageFailed("a fault")], ids=lambda fault: type(fault).__name__
)
def test_a_fault_of_a_channel_pauses_its_route_which_then_resumes(
    plant: Plant, receiver: Receiver, fault: Exception
) -> None:
    route = plant.add_route(receiver.url)
    plant.raise_alarms("sensors/1", "sensors/2")
    channel = _BrokenChannel(fault)
    plant.deliver(route, channel)
    assert (channel.sent, plant.states()) == (1, {"pending": 2})
    stored = plant.routes.get("default", route.id)
    assert stored["last_error"] == f"an error inside Millwright ({type(fault).__name__}); the log says more"
    assert stored["retry_at"] is not None
    plant.deliver(route)
    assert plant.states() == {"delivered": 2}
    assert _numbers(receiver) == [("sensors/1", 0), ("sensors/2", 1)]
    assert plant.routes.get("default", route.id)["retry_at"] is None


def _run_once(notifier: Notifier) -> None:
    notifier.run_once(threading.Event())
    eventually(lambda: not any(worker.is_busy() for worker in notifier._workers.values()))


def test_a_channel_that_cannot_be_closed_keeps_no_other_route_from_delivering(
    plant: Plant, receiver: Receiver, tmp_path: Path
) -> None:
    broken = plant.add_route("https://example.com/")
    channels = {broken.id: _BrokenChannel(TypeError("a fault"))}
    notifier = Notifier(
        Settings(home=tmp_path),
        open_alarm_stores(plant.database),
        lambda: True,
        lambda route: channels.get(route.id) or open_channel(route, plant.policy),
    )
    try:
        plant.raise_alarms("sensors/1")
        _run_once(notifier)
        assert channels[broken.id].closed == 1
        plant.routes.delete("default", broken.id)
        plant.add_route(receiver.url)
        plant.raise_alarms("sensors/2")
        _run_once(notifier)
        assert channels[broken.id].closed == 2
        assert _numbers(receiver) == [("sensors/2", 0)]
    finally:
        notifier.stop()


def test_what_cannot_be_recorded_is_not_sent_again_with_every_poll(
    plant: Plant, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.add_route(receiver.url)
    plant.raise_alarms("sensors/1")
    stores = open_alarm_stores(plant.database)

    def fail(ids: object) -> None:
        raise StorageFailed("The database takes no writes")

    monkeypatch.setattr(stores.deliveries, "record_delivered", fail)
    notifier = Notifier(
        Settings(home=tmp_path), stores, lambda: True, lambda route: open_channel(route, plant.policy)
    )
    try:
        for _ in range(5):
            _run_once(notifier)
    finally:
        notifier.stop()
    assert len(receiver.requests) == 1
