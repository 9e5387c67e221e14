"""Messages between a session and its child process: one JSON object per line over a unix socket."""

from __future__ import annotations

import json
import math
import socket
import struct
from typing import Any

import errors
from errors import MillwrightError, TrainingFailed
from prediction.contract import JSON

_CHUNK_BYTES = 1 << 16


class ConnectionClosed(Exception):
    """The other side is gone."""


class MessageConnection:
    """One end of a connection.

    Parameters
    ----------
    connected : socket.socket
        A connected unix stream socket, which the connection owns from now on.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._received = bytearray()

    def send(self, message: JSON) -> None:
        """Send one message; raise ConnectionClosed if nobody is left to read it."""
        line = encode(message) + b"\n"
        try:
            self._socket.settimeout(None)
            self._socket.sendall(line)
        except OSError as error:
            raise ConnectionClosed from error

    def receive(self, timeout_seconds: float | None = None) -> JSON | None:
        """Return the next message, or None after the timeout; raise ConnectionClosed at the end."""
        while b"\n" not in self._received:
            try:
                self._socket.settimeout(timeout_seconds)
                chunk = self._socket.recv(_CHUNK_BYTES)
            except TimeoutError:
                return None
            except OSError as error:
                raise ConnectionClosed from error
            if not chunk:
                raise ConnectionClosed
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        message: JSON = json.loads(line)
        return message

    def peer(self) -> tuple[int, int]:
        """Return the process id and the user id of the other side, as the kernel knows them."""
        size = struct.calcsize("3i")
        pid, uid, _ = struct.unpack(
            "3i", self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
        return pid, uid

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def encode(message: JSON) -> bytes:
    """Return a message as JSON; NumPy numbers and arrays become plain ones."""
    return json.dumps(message, default=_to_plain).encode()


def serialize_error(error: MillwrightError) -> JSON:
    """Return an error as JSON."""
    return {"class": type(error).__name__, "message": error.message, "facts": error.facts}


def deserialize_error(data: JSON) -> MillwrightError:
    """Return the error that `serialize_error` wrote, as an instance of its own class."""
    kind = getattr(errors, data["class"], TrainingFailed)
    # The subclasses' constructors compose their messages; this one is composed already.
    error: MillwrightError = kind.__new__(kind)
    MillwrightError.__init__(error, data["message"], **data["facts"])
    return error


def crash_error(error: Exception) -> TrainingFailed:
    """Return an unexpected exception as an error with a message for people."""
    return TrainingFailed(f"Training failed: {type(error).__name__}: {error}")


def nan_to_none(value: Any) -> Any:
    """Replace NaN and infinity in nested JSON by None: JSON has no numbers for them."""
    if isinstance(value, dict):
        return {name: nan_to_none(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _to_plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")
