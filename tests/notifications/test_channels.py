"""MQTT through a real broker; e-mail through apprise in its own process, to a server that speaks SMTP."""

from __future__ import annotations

import json
import os
import queue
import re
import secrets
import socketserver
import sys
import threading
from collections.abc import Iterator

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from notifications.address_policy import AddressPolicy
from notifications.apprise_process import describe_failure
from tests.notifications.conftest import LOCAL, Plant

BROKER = os.environ.get("TEST_MQTT_BROKER", "127.0.0.1:1883")
ANSWERS = {"EHLO": "250 plant", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", "QUIT": "221 bye"}


class _Mailbox(socketserver.StreamRequestHandler):
    """One SMTP dialogue; the text of the message goes into the queue of the server."""

    def handle(self) -> None:
        self.wfile.write(b"220 plant\r\n")
        while line := self.rfile.readline().decode():
            command = line[:4].upper()
            self.wfile.write(ANSWERS.get(command, "250 ok").encode() + b"\r\n")
            if command == "DATA":
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.put(b"".join(lines).decode())  # type: ignore[attr-defined]
                self.wfile.write(b"250 taken\r\n")


@pytest.fixture
def mail_server() -> Iterator[tuple[int, queue.Queue[str]]]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mailbox) as server:
        server.daemon_threads = True
        server.mails = queue.Queue()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], server.mails  # type: ignore[attr-defined]
        server.shutdown()


def test_an_alarm_becomes_an_email(plant: Plant, mail_server: tuple[int, queue.Queue[str]]) -> None:
    port, mails = mail_server
    url = f"mailto://127.0.0.1:{port}?from=plant@example.com&to=oncall@example.com&format=text"
    route = plant.add_route(url, kind="apprise", secret=None)
    plant.raise_alarms("sensors/1", message="Spike of TI-1: 98.5 °C", tag="TI-1023.PV")
    plant.policy = AddressPolicy()
    plant.deliver(route)
    assert mails.empty()
    assert "its address is not a public one" in plant.routes.get("default", route.id)["last_error"]
    plant.policy = LOCAL
    plant.deliver(route)
    assert plant.states() == {"delivered": 1}
    # Stored by an earlier version: apprise would read the file and send it.
    plant.routes.update("default", route.id, {"url": f"{url}&template=/etc/hostname"})
    plant.raise_alarms("sensors/1")
    plant.deliver(plant.route(route.id))
    assert plant.states() == {"delivered": 1, "pending": 1}
    assert "the address is refused" in plant.routes.get("default", route.id)["last_error"]
    mail = mails.get(timeout=60)
    assert "oncall@example.com" in mail
    assert "TI-1023.PV" in mail
    assert "apprise" not in sys.modules


def test_a_failing_service_shows_the_refused_address_or_the_place_of_its_error() -> None:
    try:
        json.loads("{")
    except ValueError as raised:
        error = raised
    assert describe_failure(error, ["its address is not a public one"]) == "its address is not a public one"
    assert re.fullmatch(r"apprise failed \(JSONDecodeError at decoder\.py:\d+\)", describe_failure(error, []))


def test_an_alarm_is_published_at_a_broker(plant: Plant) -> None:
    host, _, port = BROKER.partition(":")
    topic, messages = f"test/{secrets.token_hex(6)}", queue.Queue[bytes | bytearray]()
    listener = mqtt.Client(CallbackAPIVersion.VERSION2)
    listener.on_message = lambda client, userdata, message: messages.put(message.payload)
    subscribed = threading.Event()
    listener.on_subscribe = lambda *given: subscribed.set()
    try:
        listener.connect(host, int(port))
    except OSError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI needs an MQTT broker at {BROKER}: {error}")
        pytest.skip(f"no MQTT broker answers at {BROKER}")
    listener.subscribe(topic, qos=1)
    listener.loop_start()
    assert subscribed.wait(60)
    route = plant.add_route(f"mqtt://{BROKER}", kind="mqtt", topic=topic, secret=None)
    plant.raise_alarms("sensors/1", "sensors/1", "sensors/2")
    plant.deliver(route)
    alarms = [json.loads(messages.get(timeout=60))["alarms"][0] for _ in range(3)]
    listener.disconnect()
    listener.loop_stop()
    assert [alarm["data"]["number"] for alarm in alarms] == [0, 1, 2]
    assert plant.states() == {"delivered": 3}
