"""The pages of alarm routes: for administrators, with faults at their fields and never with a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from storage.alarms import Alarm, record_alarms
from tests.api.conftest import open_app, settings_in
from tests.dashboard.test_pages import BROWSER, sign_in, token_on
from tests.notifications.receiver import Receiver, receive

PATH = "/settings/alarms"
SECRET = "a secret of sixteen characters"
ATTACK = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    home: Path = tmp_path_factory.mktemp("alarms")
    for app in open_app(settings_in(home, alarm_private_networks=("127.0.0.1",))):
        keys = app.extensions["millwright"].keys
        app.secrets = {role: keys.create(role)[0] for role in ("train", "admin")}  # type: ignore[attr-defined]
        app.secrets["stranger"] = keys.create("admin", tenant="other")[0]  # type: ignore[attr-defined]
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return sign_in(app, "admin")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receive() as started:
        yield started


def _form(client: FlaskClient, **changes: object) -> dict[str, object]:
    """Return the form of a route as a browser sends it."""
    texts = {"name": "on call", "kind": "webhook", "url": "https://example.com/hook", "secret": SECRET}
    rest = {"min_severity": "High", "group_seconds": "0", "subjects": "TI-*\r\n sensors/12 ", "enabled": "on"}
    return {"token": token_on(client, PATH), **texts, **rest, **changes}


def _create(client: FlaskClient, **changes: object) -> str:
    answer = client.post(PATH, data=_form(client, **changes), headers=BROWSER)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def test_only_administrators_of_the_tenant_see_routes(app: Flask, client: FlaskClient) -> None:
    route = _create(client)
    assert sign_in(app, "train").get(PATH, headers=BROWSER).status_code == 403
    stranger = sign_in(app, "stranger")
    assert "on call" not in stranger.get(PATH, headers=BROWSER).text
    assert stranger.get(route, headers=BROWSER).status_code == 404
    without_token = {**_form(client), "token": ""}
    for path in (PATH, route, f"{route}/test", f"{route}/delete"):
        assert client.post(path, data=without_token).status_code == 403


def test_a_route_is_added_changed_tested_and_deleted(client: FlaskClient, receiver: Receiver) -> None:
    quiet = {"quiet_start": "22:00", "quiet_end": "06:00", "quiet_timezone": "Europe/Paris"}
    route = _create(client, name=ATTACK, url=receiver.url, events=["anomaly.opened", "data.silent"], **quiet)
    page = client.get(route, headers=BROWSER).text
    for shown in ("not used yet", 'value="22:00"', "TI-*\nsensors/12", f"http://127.0.0.1:{receiver.port}/…"):
        assert shown in page
    assert len(re.findall(r'name="events" value="[a-z._]+" checked', page)) == 2
    token = {"token": token_on(client, route)}
    tested = client.post(f"{route}/test", data=token, headers=BROWSER)
    assert "The test has arrived" in client.get(tested.headers["Location"], headers=BROWSER).text
    assert [alarm["event"] for alarm in receiver.alarms] == ["route.test"]
    receiver.statuses = [500]
    failed = client.post(f"{route}/test", data=token, headers=BROWSER)
    assert (failed.status_code, "it answered with status 500" in failed.text) == (502, True)
    changed = _form(client, name="line 2", url="", secret="", enabled="")
    del changed["enabled"]
    assert client.post(route, data=changed, headers=BROWSER).status_code == 303
    after = client.get(route, headers=BROWSER).text
    assert "switched off" in after
    for text in (page, after, failed.text, client.get(PATH, headers=BROWSER).text):
        assert SECRET not in text
        assert "token-of-the-route" not in text
        assert ATTACK not in text
    assert client.post(f"{route}/delete", data=token).headers["Location"] == PATH
    assert client.get(route, headers=BROWSER).status_code == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"secret": "short-secret"}, "secret"),
        ({"url": "ftp://user:pw@example.com"}, "url"),
        ({"kind": "mqtt", "url": "mqtt://broker", "topic": "plant/#"}, "topic"),
        ({"name": " "}, "name"),
        ({"group_seconds": "soon"}, "group_seconds"),
        ({"quiet_start": "22:00", "quiet_end": "22:00"}, "quiet_hours"),
        ({"quiet_start": "22:00"}, "quiet_hours"),
        ({"quiet_timezone": "Europe/Paris"}, "quiet_hours"),
        ({"quiet_start": "22:00", "quiet_end": "06:00", "quiet_timezone": "Mars"}, "quiet_hours"),
        ({"events": ["pump.sad"]}, "events"),
    ],
)
def test_wrong_input_stands_at_its_field_and_the_rest_stays(
    client: FlaskClient, changes: dict[str, object], field: str
) -> None:
    path = _create(client)
    for target in (PATH, path):
        page = client.post(target, data=_form(client, **{"name": "kept name", **changes}), headers=BROWSER)
        assert page.status_code == 422
        assert f'aria-describedby="fault-{field}"' in page.text or f'id="fault-{field}"' in page.text
        assert field == "name" or 'value="kept name"' in page.text
        assert "TI-*\nsensors/12" in page.text
        for secret in (SECRET, "short-secret", "pw@"):
            assert secret not in page.text


def test_a_secret_is_asked_for_again_where_the_address_leads_elsewhere(client: FlaskClient) -> None:
    route = _create(client)
    page = client.post(
        route, data=_form(client, url="https://elsewhere.example.com/", secret=""), headers=BROWSER
    )
    assert (page.status_code, 'id="fault-secret"' in page.text) == (422, True)


def test_dead_letters_are_shown_and_sent_again(app: Flask, client: FlaskClient) -> None:
    number = int(_create(client, subjects="", min_severity="Low").rpartition("/")[2])
    service = app.extensions["millwright"].alarms
    alarm = Alarm("default", "anomaly.opened", "High", "sensors", "sensors/1", f"Spike {ATTACK}")
    with service.alarms.database.write() as connection:
        record_alarms(connection, [alarm])
    routes = [route for route in service.routes.list_enabled() if route.id == number]
    while service.deliveries.route_waiting(routes, lambda route, severity, now: now):
        pass
    (delivery,) = service.deliveries.due(number, service.deliveries.page("default")[0][0]["due_at"], 10)
    service.deliveries.record_failed([delivery.id], "it answered with status 500", None, dead=[delivery.id])
    page = client.get(PATH, headers=BROWSER).text
    assert "it answered with status 500" in page
    assert ATTACK not in page
    resend = f"{PATH}/deliveries/{delivery.id}/resend"
    token = {"token": token_on(client, PATH)}
    assert f'action="{resend}"' in page
    assert client.post(resend, data=token).headers["Location"] == f"{PATH}#dead"
    assert service.deliveries.get("default", delivery.id)["state"] == "pending"
    assert client.post(resend, data=token, headers=BROWSER).status_code == 409


def test_the_pages_speak_french(client: FlaskClient) -> None:
    french = {**BROWSER, "Accept-Language": "fr"}
    assert "Ajouter une destination" in client.get(PATH, headers=french).text
