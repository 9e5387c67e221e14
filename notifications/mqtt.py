"""Alarms as MQTT messages, with quality of service 1: the broker confirms each."""

from __future__ import annotations

import socket
import threading
from typing import Final
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from notifications.address_policy import AddressPolicy, AddressRefused
from notifications.channels import DeliveryFailed
from notifications.messages import Message
from storage.alarms.routes import AlarmRoute

TIMEOUT_SECONDS: Final = 10.0
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


class MqttChannel:
    """Publishes messages to one topic of one broker."""

    def __init__(self, route: AlarmRoute, policy: AddressPolicy) -> None:
        self._route = route
        self._policy = policy
        self._client: mqtt.Client | None = None

    def send(self, message: Message) -> None:
        """Publish a message and wait for the broker's confirmation."""
        try:
            client = self._client or self._connect()
            published = client.publish(self._route.topic or "", message.to_json(), qos=1)
            published.wait_for_publish(TIMEOUT_SECONDS)
        except AddressRefused as error:
            raise DeliveryFailed(str(error)) from error
        except (OSError, ValueError, RuntimeError) as error:
            self.close()
            raise DeliveryFailed(f"the broker cannot be reached ({type(error).__name__})") from error
        if not published.is_published():
            self.close()
            raise DeliveryFailed(f"the broker did not confirm within {TIMEOUT_SECONDS:g} seconds")

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def _connect(self) -> mqtt.Client:
        route, url = self._route, urlsplit(self._route.url)
        client = _CheckedClient(self._policy)
        if route.username:
            client.username_pw_set(route.username, route.secret)
        if url.scheme == "mqtts":
            client.tls_set()
        connected = threading.Event()
        refusals: list[str] = []

        def on_connect(
            client: mqtt.Client, userdata: object, flags: object, code: ReasonCode, properties: object
        ) -> None:
            if code.is_failure:
                refusals.append(str(code))
            connected.set()

        client.on_connect = on_connect
        client.connect(url.hostname or "", url.port or _PORTS[url.scheme])
        client.loop_start()
        self._client = client
        if not connected.wait(TIMEOUT_SECONDS) or refusals:
            self.close()
            reason = f"the broker refused: {refusals[0]}" if refusals else "the broker did not answer in time"
            raise DeliveryFailed(reason)
        return client


class _CheckedClient(mqtt.Client):
    """A client whose every connection, those after an interruption as well, goes to an address that was checked."""

    def __init__(self, policy: AddressPolicy) -> None:
        super().__init__(CallbackAPIVersion.VERSION2)
        self._policy = policy

    def _create_socket_connection(self) -> socket.socket:
        return self._policy.connect(self._host, self._port, TIMEOUT_SECONDS)
