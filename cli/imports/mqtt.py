"""Take readings from an MQTT broker: ``python cli/imports/mqtt.py --topic 'plant/+/reading'``.

Readings go to the server in batches. A message is acknowledged only when its readings are stored, and the
broker keeps what comes while this command is not running: nothing published with quality of service 1 or 2
is lost, and after a crash a batch may come twice.
"""

from __future__ import annotations

import queue
import signal
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from cli.client import ServerClient, local_server_url
from cli.console import ExitCode, JSONFlag, application, leave, say, say_json, told
from cli.imports.mqtt_messages import Reading, parse_message
from errors import MalformedBody, MillwrightError, NotReady

app = application("Take readings from an MQTT broker.")

_LOOK_S = 0.2
_LONGEST_PAUSE_S = 30.0
_PASSING = (429, 500, 503, 507)
"""Answers of a server that may do better in a while."""


@dataclass(frozen=True)
class Broker:
    """Where messages come from, and as whom they are fetched."""

    host: str
    port: int
    topic: str
    client_id: str
    username: str | None = None
    password: str | None = None
    tls: bool = False


@dataclass
class IngestCounts:
    """What became of everything so far."""

    messages: int = 0
    accepted: int = 0
    rejected: list[str] = field(default_factory=list)
    wrong: int = 0

    def refuse(self, sentence: str) -> None:
        """Count something that cannot be used; the first hundred are told in the end."""
        self.wrong += 1
        self.rejected += [sentence] if len(self.rejected) < 100 else []
        print(sentence, file=sys.stderr, flush=True)


class Subscriber:
    """A subscription whose messages wait in a queue until they are acknowledged one by one."""

    def __init__(self, broker: Broker) -> None:
        self.messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue(maxsize=10_000)
        self._topic = broker.topic
        self._subscribed = threading.Event()
        self._refusal = ""
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, broker.client_id, clean_session=False, manual_ack=True
        )
        if broker.username:
            client.username_pw_set(broker.username, broker.password)
        if broker.tls:
            client.tls_set()
        client.on_connect, client.on_subscribe = self._connected, self._is_subscribed
        client.on_message = lambda client, told, message: self.messages.put(message)
        self.client = client
        try:
            client.connect(broker.host, broker.port)
        except OSError as error:
            raise NotReady(f"No broker answers at {broker.host}:{broker.port} ({error})") from error

    def start(self, patience_s: float = 20.0) -> None:
        """Subscribe; a connection that is lost later comes back by itself.

        Raises
        ------
        NotReady
            The broker does not let this client in.
        """
        self.client.loop_start()
        if not self._subscribed.wait(patience_s):
            self.stop()
            raise NotReady(f"The broker refused: {self._refusal or 'it did not answer in time'}")

    def done(self, messages: list[mqtt.MQTTMessage]) -> None:
        """Tell the broker that these need not be sent again."""
        for message in messages:
            self.client.ack(message.mid, message.qos)

    def stop(self) -> None:
        """Leave; the broker keeps what is not acknowledged."""
        self.client.disconnect()
        self.client.loop_stop()

    def _connected(self, client: mqtt.Client, told: Any, flags: Any, code: Any, more: Any) -> None:
        if code.is_failure:
            self._refusal = str(code)
        else:
            client.subscribe(self._topic, qos=1)

    def _is_subscribed(self, client: mqtt.Client, told: Any, mid: int, codes: Any, more: Any) -> None:
        failed = [str(code) for code in codes if code.is_failure]
        if failed:
            self._refusal = failed[0]
        else:
            self._subscribed.set()


@dataclass(frozen=True)
class MqttIngest:
    """Carries messages from the broker to the server."""

    subscriber: Subscriber
    desk: ServerClient
    topic: str
    tally: IngestCounts
    stopping: threading.Event

    def run(self, batch: int, stop_after: int | None) -> None:
        """Hand messages in, batch by batch, until somebody says stop."""
        tally = self.tally
        while not self.stopping.is_set() and (stop_after is None or tally.messages < stop_after):
            wanted = batch if stop_after is None else min(batch, stop_after - tally.messages)
            messages = _waiting(self.subscriber.messages, wanted)
            readings = [reading for message in messages for reading in self._readings(message)]
            if readings and not self._stored(readings):
                return
            tally.messages += len(messages)
            self.subscriber.done(messages)

    def _readings(self, message: mqtt.MQTTMessage) -> list[Reading]:
        try:
            return parse_message(message.topic, bytes(message.payload), self.topic)
        except MalformedBody as error:
            self.tally.refuse(error.message)
            return []

    def _stored(self, readings: list[Reading]) -> bool:
        """Whether the server has them; one that is not ready is asked until it is, or we are stopped."""
        pause_s = 0.5
        while True:
            try:
                answer = self.desk.post("/api/readings/?partial=1", readings)
            except MillwrightError as error:
                if error.status not in _PASSING:
                    raise
                print(f"{error.message} Trying again.", file=sys.stderr, flush=True)
            else:
                self._count(answer)
                return True
            if self.stopping.wait(pause_s):
                return False
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _count(self, answer: dict[str, Any]) -> None:
        self.tally.accepted += answer["accepted"]
        for fault in answer["rejected"]:
            self.tally.refuse(fault["message"])


def _waiting(messages: queue.Queue[mqtt.MQTTMessage], at_most: int) -> list[mqtt.MQTTMessage]:
    """What waits now; a moment's patience for the first of it."""
    found: list[mqtt.MQTTMessage] = []
    try:
        found.append(messages.get(timeout=_LOOK_S))
        while len(found) < at_most:
            found.append(messages.get_nowait())
    except queue.Empty:
        pass
    return found


@app.command()
def main(  # noqa: PLR0917  # typer makes options of them
    topic: Annotated[str, typer.Option(help="Subscription; '+' stands for the sensor's number.")],
    broker: Annotated[str, typer.Option(help="Host of the broker.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the broker.")] = 1883,
    username: Annotated[str | None, typer.Option(help="User at the broker.")] = None,
    password_file: Annotated[Path | None, typer.Option(exists=True, help="File with the password.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypted, certificates checked.")] = False,
    client_id: Annotated[str, typer.Option(help="The broker keeps messages under it.")] = "millwright",
    url: Annotated[str | None, typer.Option(help="The server; the one of this installation.")] = None,
    api_key_file: Annotated[Path | None, typer.Option(exists=True, help="File with an API key.")] = None,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Messages at a time, at most.")] = 500,
    stop_after: Annotated[int | None, typer.Option(min=1, help="Leave after so many messages.")] = None,
    as_json: JSONFlag = False,
) -> None:
    """Take readings until SIGTERM or Ctrl-C."""
    with told(as_json):
        password = password_file.read_text(encoding="utf-8").strip() if password_file else None
        asked = Broker(broker, port, topic, client_id, username, password, tls)
        api_key = api_key_file.read_text(encoding="utf-8").strip() if api_key_file else None
        desk, tally, stopping = (
            ServerClient(url or local_server_url(), api_key),
            IngestCounts(),
            threading.Event(),
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        subscriber = Subscriber(asked)
        subscriber.start()
        print(f"listening to {topic} at {broker}:{port}", file=sys.stderr, flush=True)
        try:
            MqttIngest(subscriber, desk, topic, tally, stopping).run(batch, stop_after)
        finally:
            subscriber.stop()
            desk.close()
        _tell(tally, as_json)
        leave(ExitCode.FAILED if tally.wrong else ExitCode.DONE)


def _tell(tally: IngestCounts, as_json: bool) -> None:
    if as_json:
        facts = {"messages": tally.messages, "accepted": tally.accepted, "wrong": tally.wrong}
        say_json({"success": not tally.wrong, **facts, "rejected": tally.rejected})
    else:
        say(f"{tally.messages:,} messages, {tally.accepted:,} readings stored, {tally.wrong:,} refused")


if __name__ == "__main__":
    app()
