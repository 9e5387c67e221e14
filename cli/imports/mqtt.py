"""``millwright import mqtt``: send readings from an MQTT broker to a server, in batches.

A message is acknowledged only when its readings are stored, and the broker keeps messages while this command
is not running. Nothing published with quality of service 1 or 2 is lost; after a crash a batch may come twice.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import paho.mqtt.client as mqtt
import typer
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from cli.client import ServerClient
from cli.console import ApiKeyOption, ExitCode, JSONFlag, UrlOption, echo, echo_json
from cli.imports.mqtt_messages import ReadingRecord, parse_message
from errors import MalformedBody, MillwrightError, NotReady
from prediction.sensors.readings.reading_records import OnUnknown

MAX_REFUSALS_SHOWN = 100
# paho hands messages over from its own thread; a full queue makes the broker hold back the rest.
MAX_QUEUED_MESSAGES = 10_000
_POLL_SECONDS = 0.2
_MAX_PAUSE_SECONDS = 30.0
# The server may accept the same batch a while later.
_TEMPORARY_STATUSES = (429, 500, 503, 507)


@dataclass(frozen=True)
class Broker:
    """A subscription at a broker, and the user it is made for."""

    host: str
    port: int
    topic: str
    client_id: str
    username: str | None = None
    password: str | None = None
    tls: bool = False


@dataclass
class IngestCounts:
    """What became of the messages so far."""

    messages: int = 0
    accepted: int = 0
    rejected: list[str] = field(default_factory=list)
    wrong: int = 0

    def refuse(self, message: str) -> None:
        """Count something that cannot be used and write it to standard error."""
        self.wrong += 1
        if len(self.rejected) < MAX_REFUSALS_SHOWN:
            self.rejected.append(message)
        typer.echo(message, err=True)


class Subscriber:
    """A subscription whose messages wait in a queue until they are acknowledged."""

    def __init__(self, broker: Broker) -> None:
        self.messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue(maxsize=MAX_QUEUED_MESSAGES)
        self._topic = broker.topic
        self._subscribed = threading.Event()
        self._refusal = ""
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, broker.client_id, clean_session=False, manual_ack=True
        )
        if broker.username:
            self._client.username_pw_set(broker.username, broker.password)
        if broker.tls:
            self._client.tls_set()
        self._client.on_connect, self._client.on_subscribe = self._on_connect, self._on_subscribe
        self._client.on_message = lambda client, userdata, message: self.messages.put(message)
        try:
            self._client.connect(broker.host, broker.port)
        except OSError as error:
            raise NotReady(f"No broker answers at {broker.host}:{broker.port} ({error})") from error

    def start(self, timeout_seconds: float = 20.0) -> None:
        """Subscribe; paho restores a connection that is lost later.

        Raises
        ------
        NotReady
            The broker refuses this client.
        """
        self._client.loop_start()
        if not self._subscribed.wait(timeout_seconds):
            self.stop()
            raise NotReady(f"The broker refused: {self._refusal or 'it did not answer in time'}")

    def acknowledge(self, messages: list[mqtt.MQTTMessage]) -> None:
        """Tell the broker that these need not be sent again."""
        for message in messages:
            self._client.ack(message.mid, message.qos)

    def stop(self) -> None:
        """Disconnect; the broker keeps what is not acknowledged."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, client: mqtt.Client, userdata: object, flags: object, code: ReasonCode, properties: object
    ) -> None:
        if code.is_failure:
            self._refusal = str(code)
        else:
            client.subscribe(self._topic, qos=1)

    def _on_subscribe(
        self, client: mqtt.Client, userdata: object, mid: int, codes: Sequence[ReasonCode], properties: object
    ) -> None:
        failures = [str(code) for code in codes if code.is_failure]
        if failures:
            self._refusal = failures[0]
        else:
            self._subscribed.set()


@dataclass(frozen=True)
class MqttIngest:
    """Sends messages of a subscription to the server."""

    subscriber: Subscriber
    client: ServerClient
    topic: str
    counts: IngestCounts
    stopping: threading.Event
    on_unknown: OnUnknown

    def run(self, batch_size: int, max_messages: int | None) -> None:
        """Send messages batch by batch until ``stopping`` is set or enough were sent."""
        counts = self.counts
        while not self.stopping.is_set() and (max_messages is None or counts.messages < max_messages):
            size = batch_size if max_messages is None else min(batch_size, max_messages - counts.messages)
            messages = _take(self.subscriber.messages, size)
            readings = [reading for message in messages for reading in self._parse(message)]
            if readings and not self._store(readings):
                return
            counts.messages += len(messages)
            self.subscriber.acknowledge(messages)

    def _parse(self, message: mqtt.MQTTMessage) -> list[ReadingRecord]:
        try:
            return parse_message(message.topic, bytes(message.payload), self.topic)
        except MalformedBody as error:
            self.counts.refuse(error.message)
            return []

    def _store(self, readings: list[ReadingRecord]) -> bool:
        """Store readings, however long the server takes; return False where we are stopped before."""
        pause_seconds = 0.5
        while True:
            try:
                path = f"/api/readings/?skip_invalid=1&on_unknown={self.on_unknown}"
                answer = self.client.post(path, readings)
            except MillwrightError as error:
                if error.status not in _TEMPORARY_STATUSES:
                    raise
                typer.echo(f"{error.message} Trying again.", err=True)
            else:
                self.counts.accepted += answer["accepted"]
                for fault in answer["rejected"]:
                    self.counts.refuse(fault["message"])
                return True
            if self.stopping.wait(pause_seconds):
                return False
            pause_seconds = min(2 * pause_seconds, _MAX_PAUSE_SECONDS)


def _take(messages: queue.Queue[mqtt.MQTTMessage], size: int) -> list[mqtt.MQTTMessage]:
    """Return up to ``size`` waiting messages, after a short wait for the first."""
    taken: list[mqtt.MQTTMessage] = []
    try:
        taken.append(messages.get(timeout=_POLL_SECONDS))
        while len(taken) < size:
            taken.append(messages.get_nowait())
    except queue.Empty:
        pass
    return taken


def import_mqtt(
    *,
    topic: Annotated[str, typer.Option(help="Subscription; '+' stands for the sensor's number or tag.")],
    broker: Annotated[str, typer.Option(help="Host of the broker.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the broker.")] = 1883,
    username: Annotated[str | None, typer.Option(help="User at the broker.")] = None,
    password_file: Annotated[Path | None, typer.Option(exists=True, help="File with the password.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS and check certificates.")] = False,
    client_id: Annotated[str, typer.Option(help="The broker keeps messages for this id.")] = "millwright",
    url: UrlOption = None,
    api_key_file: ApiKeyOption = None,
    on_unknown: Annotated[
        OnUnknown, typer.Option(help="What happens to readings of unknown tags.")
    ] = OnUnknown.REFUSE,
    batch_size: Annotated[int, typer.Option(min=1, max=10_000, help="Messages per request, at most.")] = 500,
    max_messages: Annotated[int | None, typer.Option(min=1, help="Exit after so many messages.")] = None,
    as_json: JSONFlag = False,
) -> None:
    """Send readings from an MQTT broker to a server until SIGTERM or Ctrl-C."""
    password = password_file.read_text(encoding="utf-8").strip() if password_file else None
    client = ServerClient(url, api_key_file)
    counts, stopping = IngestCounts(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    subscriber = Subscriber(Broker(broker, port, topic, client_id, username, password, tls))
    subscriber.start()
    typer.echo(f"listening to {topic} at {broker}:{port}", err=True)
    try:
        MqttIngest(subscriber, client, topic, counts, stopping, on_unknown).run(batch_size, max_messages)
    finally:
        subscriber.stop()
        client.close()
    if as_json:
        echo_json({"success": not counts.wrong, **vars(counts)})
    else:
        echo(f"{counts.messages:,} messages, {counts.accepted:,} readings stored, {counts.wrong:,} refused")
    raise typer.Exit(ExitCode.FAILED if counts.wrong else ExitCode.DONE)
