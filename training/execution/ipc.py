"""Messages between a session's owner and its child: one JSON object a line over a unix socket."""

from __future__ import annotations

import json
import math
import socket
import struct
from typing import Any

from errors import MillwrightError
from prediction.contract import JSON

_CHUNK = 1 << 16


class ConnectionClosed(Exception):
    """The other side has gone."""


class MessageConnection:
    """One end of a connection.

    Parameters
    ----------
    connection : socket.socket
        A connected unix stream socket, which the wire owns from now on.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._received = bytearray()

    def send(self, message: JSON) -> None:
        """Send one message; Closed where nobody is left to read it."""
        line = json.dumps(message, default=_plain).encode() + b"\n"
        try:
            self.connection.settimeout(None)
            self.connection.sendall(line)
        except OSError as error:
            raise ConnectionClosed from error

    def receive(self, timeout_s: float | None = None) -> JSON | None:
        """The next message, or None where none has come in time; Closed at the end."""
        self.connection.settimeout(timeout_s)
        while b"\n" not in self._received:
            try:
                chunk = self.connection.recv(_CHUNK)
            except TimeoutError:
                return None
            except OSError as error:
                raise ConnectionClosed from error
            if not chunk:
                raise ConnectionClosed
            self._received += chunk
        line, _, rest = self._received.partition(b"\n")
        self._received = rest
        message: JSON = json.loads(line)
        return message

    def peer(self) -> tuple[int, int]:
        """Process id and user id of the other side, as the kernel knows them."""
        size = struct.calcsize("3i")
        pid, uid, _ = struct.unpack(
            "3i", self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
        return pid, uid

    def close(self) -> None:
        """Hang up."""
        self.connection.close()


def serialize_error(error: MillwrightError) -> JSON:
    """An error as it travels from a child to its owner."""
    return {"class": type(error).__name__, "message": error.message, "facts": error.facts}


def _plain(value: Any) -> Any:
    """NumPy numbers and arrays, which a family may well announce, as plain ones."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot travel as JSON")


def nan_to_none(value: Any) -> Any:
    """JSON has no word for NaN or infinity: a metric that could not be measured is None."""
    if isinstance(value, dict):
        return {name: nan_to_none(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
