"""Alarms arrive at least once, in the order of their subject, whatever their receiver does."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import timedelta

import pytest

from notifications import webhook
from notifications.address_policy import AddressPolicy
from notifications.delivery import pause_after
from tests.notifications.conftest import SECRET, Plant
from tests.notifications.receiver import Receiver


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
