"""A real server loses no alarm: killed with its receiver failing, it delivers all of them after the next start."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from settings import PROJECT
from tests.cli.runner import invoke
from tests.live_server import environment, free_port, wait_until_ready
from tests.notifications.receiver import Receiver, receive
from tests.waiting import eventually

SECRET = "a secret of sixteen characters"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receive() as started:
        yield started


@contextmanager
def _server(home: Path, end: signal.Signals) -> Iterator[str]:
    """Return the address of a server that ends by a signal; its workers die with it."""
    port = free_port()
    settings = {"alarm_private_networks": "127.0.0.1", "demo_data": 0, "sentence_model": "none", "workers": 1}
    home.mkdir(exist_ok=True)
    with (home / "server.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=PROJECT,
            env=environment(home, port=port, **settings),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_ready(server, f"http://127.0.0.1:{port}", home)
        yield f"http://127.0.0.1:{port}"
    finally:
        if end is signal.SIGKILL:
            subprocess.run(["kill", "-9", "--", f"-{server.pid}"], check=True)
        else:
            server.send_signal(end)
        server.wait()


def _run(*command: object, url: str) -> dict[str, Any]:
    return json.loads(invoke("alarms", *command, "--url", url, "--json").stdout)


def test_nothing_is_lost_by_kill_and_secrets_are_not_logged(tmp_path: Path, receiver: Receiver) -> None:
    home = tmp_path / "home"
    receiver.statuses = [503]
    body = {"name": "on call", "kind": "webhook", "url": receiver.url, "secret": SECRET}
    with _server(home, signal.SIGKILL) as address:
        requests.post(f"{address}/api/alarm-routes", json=body, timeout=60).raise_for_status()
        moved = requests.post(
            f"{address}/api/alarm-routes", json={**body, "url": receiver.url + "/two"}, timeout=60
        ).json()
        sensor = {"name": "TI-1", "type": "Temperature", "unit": "°C"}
        sensor_id = requests.post(f"{address}/api/sensors/", json=sensor, timeout=60).json()["id"]
        for value in range(5):
            anomaly = {"sensor_id": sensor_id, "type": "Spike", "value": value}
            requests.post(f"{address}/api/anomalies/", json=anomaly, timeout=60).raise_for_status()
        eventually(lambda: receiver.requests)
    receiver.requests.clear()
    receiver.statuses = [500, 302, 200]
    with _server(home, signal.SIGTERM) as address:
        # Both routes wait after their failures; a change lets one be tried at once.
        path = f"{address}/api/alarm-routes/{moved['id']}"
        deliveries = f"{address}/api/alarm-deliveries?state=delivered&route_id={moved['id']}"

        def has_all() -> bool:
            requests.patch(path, json={"name": "again"}, timeout=60).raise_for_status()
            return requests.get(deliveries, timeout=60).json()["count"] == 5

        eventually(has_all)
        shown = requests.get(path, timeout=60).text
        listed = _run("list", "--open", "--limit", 3, url=address)
        assert [alarm["event"] for alarm in listed["results"]] == ["anomaly.opened"] * 3
        assert _run("routes", url=address)["count"] == 2
        assert _run("test", moved["id"], url=address)["success"] is True
        acknowledged = _run("acknowledge", listed["results"][0]["id"], "--by", "M. Curie", url=address)
        assert acknowledged["acknowledged_by"] == "M. Curie"
        assert _run("resend", 1, url=address)["code"] == "conflict"
    requests_of_route = [request for request in receiver.requests if request.path.endswith("/two")]
    alarms = [alarm for request in requests_of_route for alarm in request.alarms]
    values = [alarm["data"]["value"] for alarm in alarms if alarm["event"] == "anomaly.opened"]
    assert set(values) == {0, 1, 2, 3, 4}
    assert values == sorted(values)
    log = (home / "server.log").read_text()
    assert "alarm_not_delivered" in log
    for secret in (SECRET, "token-of-the-route"):
        assert secret not in log
        assert secret not in shown
