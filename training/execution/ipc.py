"""Messages between a session and its child process: one JSON object per line over a unix socket."""

from __future__ import annotations

import json
import math
import socket
import struct
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TypedDict, TypeVar, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

import errors
from errors import MillwrightError, TrainingFailed, describe_error

T = TypeVar("T")

_CHUNK_BYTES = 1 << 16


class SerializedError(TypedDict):
    """An error, named by its class."""

    name: str
    message: str
    facts: dict[str, object]


class WorkerMessage(TypedDict, total=False):
    """One of: a task to do; a stage that a task has reached; its result; its error.

    ``task`` is what `Task.to_dict` returns; ``announce`` says whether the owner wants to know the stages.
    """

    task: Mapping[str, object]
    announce: bool
    stage: str
    facts: Mapping[str, object]
    result: object
    error: SerializedError


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

    def send(self, message: WorkerMessage) -> None:
        """Send one message; raise ConnectionClosed if nobody is left to read it."""
        line = encode(message) + b"\n"
        try:
            self._socket.settimeout(None)
            self._socket.sendall(line)
        except OSError as error:
            raise ConnectionClosed from error

    def receive(self, timeout_seconds: float | None = None) -> WorkerMessage | None:
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
        message: WorkerMessage = json.loads(line)
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


def encode(message: object) -> bytes:
    """Return a message as JSON; dataclasses become objects, NumPy numbers and arrays plain ones."""

    def to_plain(value: object) -> object:
        if is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in fields(value)}
        if hasattr(value, "tolist"):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} cannot be sent as JSON")

    return json.dumps(message, default=to_plain).encode()


def rebuild(kind: type[T], data: object) -> T:
    """Return the value of this type that `encode` made plain: dataclasses, also in lists and mappings."""
    return cast("T", _rebuild(kind, data))


def _rebuild(kind: object, data: object) -> object:
    if isinstance(kind, type) and is_dataclass(kind):
        hints, values = get_type_hints(kind), cast("Mapping[str, object]", data)
        return kind(**{name: _rebuild(hints[name], value) for name, value in values.items()})
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType) and data is not None:
        kinds = set(parts) - {type(None)}
        if all(map(is_typeddict, kinds)):
            return data  # plain on both sides, whichever it is
        (part,) = kinds
        return _rebuild(part, data)
    if origin in (list, Sequence) and not {str, float, int} & set(parts):
        return [_rebuild(parts[0], item) for item in cast("Sequence[object]", data)]
    if origin in (dict, Mapping) and is_dataclass(parts[1]):
        return {name: _rebuild(parts[1], value) for name, value in cast("Mapping[str, object]", data).items()}
    return data


def serialize_error(error: MillwrightError) -> SerializedError:
    """Return what `deserialize_error` reads."""
    return {"name": type(error).__name__, "message": error.message, "facts": error.facts}


def deserialize_error(data: SerializedError) -> MillwrightError:
    """Return the error that `serialize_error` wrote, as an instance of its own class."""
    kind = getattr(errors, data["name"], TrainingFailed)
    # The subclasses' constructors compose their messages; this one is composed already.
    error: MillwrightError = kind.__new__(kind)
    MillwrightError.__init__(error, data["message"], **data["facts"])
    return error


def crash_error(error: Exception) -> TrainingFailed:
    """Return an unexpected exception as an error with a message for people."""
    return TrainingFailed(f"Training failed: {describe_error(error)}")


def nan_to_none(value: T) -> T:
    """Replace NaN and infinity in nested JSON by None: JSON has no numbers for them."""
    plain: object = value
    if isinstance(value, Mapping):
        plain = {name: nan_to_none(part) for name, part in value.items()}
    elif isinstance(value, list | tuple):
        plain = [nan_to_none(part) for part in value]
    elif isinstance(value, float) and not math.isfinite(value):
        plain = None
    return cast("T", plain)
