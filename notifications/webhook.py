"""Webhooks: signed as https://www.standardwebhooks.com describes; no redirects, a checked address, a deadline."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from notifications.address_policy import AddressPolicy, AddressRefused
from notifications.channels import DeliveryFailed
from notifications.messages import Message
from settings import VERSION
from storage.alarms.routes import AlarmRoute

TIMEOUT_SECONDS: Final = 10.0
# More than any receiver has to say; the rest would hold the connection.
_MAX_ANSWER_BYTES: Final = 64 * 1024
_MAX_RETRY_AFTER: Final = timedelta(hours=1)
_SECRET_PREFIX: Final = "whsec_"
# With these the receiver judges the message; every other failure would meet the next message as well.
_MESSAGE_STATUSES: Final = (400, 406, 409, 413, 415, 422)

# How a connection fails that the receiver has closed; those of TLS are no ConnectionError.
_CLOSED_ERRORS: Final = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class WebhookChannel:
    """Posts messages to one URL, over one connection as long as the receiver keeps it."""

    def __init__(self, route: AlarmRoute, policy: AddressPolicy) -> None:
        self._url = urlsplit(route.url)
        self._key = decode_secret(route.secret or "")
        self._policy = policy
        self._connection: http.client.HTTPConnection | None = None

    def send(self, message: Message) -> None:
        """Post a message; a status of 200 to 299 says that it has arrived."""
        body, is_reused = message.to_json(), self._connection is not None
        began_at = time.monotonic()
        try:
            try:
                response, content = self._post(message.id, body)
            except _CLOSED_ERRORS:
                # A receiver may close a connection that rests, just when the next message is on its way.
                if not is_reused or time.monotonic() - began_at >= TIMEOUT_SECONDS:
                    raise
                self.close()
                response, content = self._post(message.id, body)
        except AddressRefused as error:
            raise DeliveryFailed(str(error)) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise DeliveryFailed(_describe(error)) from error
        if response.will_close or len(content) > _MAX_ANSWER_BYTES:
            self.close()
        _check_status(response)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
            self._connection = None

    def _post(self, message_id: str, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        target = self._url.path or "/"
        target += f"?{self._url.query}" if self._url.query else ""
        with self._deadline() as connection:
            connection.request("POST", target, body, self._headers(message_id, body))
            response = connection.getresponse()
            return response, response.read(_MAX_ANSWER_BYTES + 1)

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        return {
            "Host": self._url.netloc,
            "Content-Type": "application/json",
            "User-Agent": f"millwright/{VERSION}",
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign(self._key, message_id, timestamp, body),
        }

    @contextmanager
    def _deadline(self) -> Iterator[http.client.HTTPConnection]:
        """Yield the connection, and cut it off when the time for the whole exchange is over.

        The timeout of a socket starts anew with each byte, so a receiver could hold a message forever.
        """
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
        sock = connection.sock
        watchdog = threading.Timer(TIMEOUT_SECONDS, _cut_off, (sock,))
        watchdog.daemon = True
        watchdog.start()
        try:
            yield connection
        finally:
            watchdog.cancel()

    def _connect(self) -> http.client.HTTPConnection:
        host, secure = self._url.hostname or "", self._url.scheme == "https"
        port = self._url.port or (443 if secure else 80)
        plain = self._policy.connect(host, port, TIMEOUT_SECONDS)
        try:
            if not secure and not self._policy.is_private(str(plain.getpeername()[0])):
                raise AddressRefused("a public address is only sent to over https")
            sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if secure else plain
        except BaseException:
            plain.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
        # Without it the connection would open itself again, to an address that nobody has checked.
        connection.auto_open = 0
        connection.sock = sock
        return connection


def decode_secret(secret: str) -> bytes:
    """Return the key of a secret: base64 after ``whsec_``, as the standard has it, else the text itself."""
    if secret.startswith(_SECRET_PREFIX):
        with suppress(binascii.Error, ValueError):
            return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    return secret.encode()


def sign(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a message: HMAC-SHA256 over its id, its timestamp and its body."""
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def _check_status(response: http.client.HTTPResponse) -> None:
    status = response.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise DeliveryFailed(f"it answered {status}, a redirect; redirects are not followed")
    retry_after = None
    if (text := response.getheader("Retry-After") or "").isdecimal():
        retry_after = min(timedelta(seconds=int(text[:9])), _MAX_RETRY_AFTER)
    raise DeliveryFailed(
        f"it answered with status {status}",
        is_message_refused=status in _MESSAGE_STATUSES,
        retry_after=retry_after,
    )


def _cut_off(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _describe(error: Exception) -> str:
    """Return why a message did not arrive; texts of libraries may hold the address."""
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted ({error.verify_message})"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return f"it did not answer within {TIMEOUT_SECONDS:g} seconds"
    return (
        f"the connection failed, or did not end within {TIMEOUT_SECONDS:g} seconds ({type(error).__name__})"
    )
