"""Readings from a real Mosquitto reach a real server, and nothing published is lost while nobody listens."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
import requests
from paho.mqtt.enums import CallbackAPIVersion

from cli.imports.mqtt_messages import parse_message, sensor_from_topic
from errors import MalformedBody
from settings import PROJECT
from tests.live_server import environment, free_port, live_server

HOST, _, PORT = os.environ.get("TEST_MQTT_BROKER", "127.0.0.1:1883").partition(":")
PATTERN = "plant/+/reading"


@pytest.fixture(scope="module")
def publisher() -> Iterator[mqtt.Client]:
    """Return a client of the broker; without one the test is skipped, and fails where CI runs."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    try:
        client.connect(HOST, int(PORT))
    except OSError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI needs an MQTT broker at {HOST}:{PORT}: {error}")
        pytest.skip(f"no MQTT broker answers at {HOST}:{PORT}")
    client.loop_start()
    yield client
    client.disconnect()
    client.loop_stop()


def publish(client: mqtt.Client, root: str, messages: dict[str, str]) -> None:
    """Publish and wait until the broker has them."""
    for topic, payload in messages.items():
        client.publish(f"{root}/{topic}/reading", payload, qos=1).wait_for_publish(20)


class RunningCommand:
    """``import mqtt``, subscribed."""

    def __init__(self, home: Path, root: str, *options: str) -> None:
        subscription = ["--topic", f"{root}/+/reading", "--client-id", root, "--broker", HOST, "--port", PORT]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli", "import", "mqtt", *subscription, *options, "--json"],
            cwd=PROJECT,
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        first = self.process.stderr.readline()
        assert first.startswith("listening"), first

    def end(self, stop: bool = False) -> tuple[int, dict]:
        """Return its exit code and answer."""
        if stop:
            self.process.terminate()
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, json.loads(output)


def test_what_is_published_is_stored_also_what_came_while_nobody_listened(
    publisher: mqtt.Client, tmp_path: Path
) -> None:
    root = f"test-{secrets.token_hex(6)}"
    with live_server(tmp_path, sentence_model="none", demo_data=0) as address:
        sensors = [{"name": name, "type": "Flow"} for name in ("inlet", "outlet")]
        inlet, outlet = (
            requests.post(f"{address}/api/sensors/", json=sensor).json()["id"] for sensor in sensors
        )
        late = {"sensor_id": outlet, "value": 7.5, "timestamp": "2026-01-05T10:00:00Z"}

        command = RunningCommand(tmp_path, root, "--url", address, "--max-messages", "3")
        publish(publisher, root, {str(inlet): "4,25", "line-1": json.dumps(late), "999": "1"})
        code, result = command.end()
        assert (code, result["messages"], result["accepted"], result["wrong"]) == (1, 3, 2, 1), result
        assert "no sensor 999" in result["rejected"][0]

        publish(publisher, root, {str(outlet): "[8.5, 9.5]"})  # nobody listens now
        code, result = RunningCommand(tmp_path, root, "--url", address, "--max-messages", "1").end()
        assert (code, result["accepted"]) == (0, 2)
        lists = [requests.get(f"{address}/api/readings/?sensor_id={n}").json() for n in (inlet, outlet)]
        stored = [rows["results"] for rows in lists]
        assert [[row["raw_value"] for row in rows] for rows in stored] == [[4.25], [7.5, 8.5, 9.5]]


def test_a_server_that_does_not_answer_loses_nothing(publisher: mqtt.Client, tmp_path: Path) -> None:
    """What could not be stored is not acknowledged: the broker sends it again to the next subscriber."""
    root = f"test-{secrets.token_hex(6)}"
    nobody = f"http://127.0.0.1:{free_port()}"
    command = RunningCommand(tmp_path, root, "--url", nobody)
    publish(publisher, root, {"13": "4.25"})
    assert command.process.stderr is not None
    assert "Trying again" in command.process.stderr.readline()
    code, result = command.end(stop=True)
    assert (code, result["messages"], result["accepted"]) == (0, 0, 0)
    again: list[bytes | bytearray] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, root, clean_session=False)
    client.on_message = lambda client, userdata, message: again.append(message.payload)
    client.connect(HOST, int(PORT))
    while not again:
        client.loop(1.0)
    client.disconnect()
    assert again == [b"4.25"]
    delete_session(root)


def delete_session(client_id: str) -> None:
    """Let the broker delete a client and its messages."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=True)
    client.connect(HOST, int(PORT))
    client.loop(0.5)
    client.disconnect()


def test_a_broker_that_does_not_answer_is_named(tmp_path: Path) -> None:
    port = str(free_port())
    process = subprocess.run(
        [sys.executable, "-m", "cli", "import", "mqtt", "--topic", PATTERN, "--port", port, "--json"],
        cwd=PROJECT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 9
    assert f"127.0.0.1:{port}" in json.loads(process.stdout)["error"]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"4.5", [("7", 4.5)]),
        (b" 4,5\n", [("7", 4.5)]),
        (b'{"raw_value": 1, "sensor": 9}', [(9, 1)]),
        (b'{"value": "1,5"}', [("7", "1,5")]),
        (b'[1, {"value": 2}]', [("7", 1), ("7", 2)]),
    ],
)
def test_a_message_says_its_readings(payload: bytes, expected: list) -> None:
    readings = parse_message("plant/7/reading", payload, PATTERN)
    assert [(reading["sensor_id"], reading["raw_value"]) for reading in readings] == expected


@pytest.mark.parametrize("payload", [b"", b"high", b'"4"', b"true", b"[[1]]", b"\xff", b"null"])
def test_a_message_that_says_nothing_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedBody, match="plant/7/reading"):
        parse_message("plant/7/reading", payload, PATTERN)


def test_a_message_with_a_time_of_another_name_is_none_of_now() -> None:
    with pytest.raises(MalformedBody, match=r"plant/7/reading: .*time looks like its time"):
        parse_message("plant/7/reading", b'{"value": 4.5, "time": "2020-01-01T00:00:00Z"}', PATTERN)


def test_the_sensor_stands_where_the_pattern_has_its_plus() -> None:
    assert sensor_from_topic("a/12/b", "a/+/#") == "12"
    assert sensor_from_topic("a/12/b", "a/#") is None
