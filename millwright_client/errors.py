"""What a server refuses, and what gets in the way, as exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Answer = dict[str, Any]
"""A JSON object as the server sent it: the edge at which nothing has a narrower type yet."""

UNREACHABLE = "unreachable"
NOT_READY = "not_ready"
TOO_LARGE = "too_large"

_HINTS = {
    UNREACHABLE: "Check the address, and that the server runs: its /health/live must answer.",
    NOT_READY: "Try again in a moment.",
    TOO_LARGE: "Send fewer records at a time.",
    "unauthorized": "Pass api_key='mw_…'; `millwright keys create` makes a key.",
    "forbidden": "Use a key with the role that this call needs (read, train or admin).",
    "no_champion": "Train the model first; client.models.list() lists the models that there are.",
    "training_in_progress": "Wait for the session that runs: client.status() names it.",
    "invalid_records": "error.faults names the record and the field of each fault.",
    "idempotency_key_in_use": "The same request is being carried out: wait for its session.",
}
"""What to do about a code, where the server's sentence leaves it to the caller."""


class ApiError(Exception):
    """A request that did not succeed.

    Parameters
    ----------
    status : int
        The HTTP status; 503 where no server answered at all.
    body : mapping
        The error as the server sent it: ``error``, ``code`` and further facts.

    Attributes
    ----------
    code : str
        A code for programs that never changes, such as ``no_champion``.
    message : str
        A sentence for people.
    hint : str
        What to do about it; may be empty.
    faults : list of dict
        Where records are at fault: ``record`` (counts from 1), ``field``, ``code`` and ``value`` of each.
    reasons : list of str
        Sentences that explain the error further.
    """

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        self.status = status
        self.body: Answer = dict(body)
        self.code = str(self.body.get("code", "unknown"))
        self.message = str(self.body.get("error", "The server gave no reason"))
        self.hint = str(self.body.get("hint") or _HINTS.get(self.code, ""))
        self.faults: list[Answer] = list(self.body.get("errors") or ())
        self.reasons: list[str] = [
            *map(str, self.body.get("validation_errors") or ()),
            *map(str, self.body.get("reasons") or ()),
        ]
        super().__init__(self.message)

    def __str__(self) -> str:
        """Return message, reasons and hint, one a line."""
        return "\n".join([f"{self.message} ({self.code})", *self.reasons, *filter(None, [self.hint])])


class NotAllowedError(ApiError):
    """The key is missing, unknown, or of too weak a role (401, 403)."""


class NotFoundError(ApiError):
    """There is nothing of that name (404)."""


class ConflictError(ApiError):
    """The request conflicts with the present state (409): no champion, a training that runs, safer answers."""


class RefusedError(ApiError):
    """What was sent cannot be used (400, 413, 415, 422)."""


class NotReadyError(ApiError):
    """The server, or a proxy in front of it, cannot answer now (502, 503, 504)."""


class ServerUnreachableError(NotReadyError):
    """Nothing answers at the address, or not a Millwright server."""

    def __init__(self, message: str) -> None:
        super().__init__(503, {"error": message, "code": UNREACHABLE})


class TrainingFailedError(ApiError):
    """A session ended without a version: failed, cancelled or interrupted. Nothing has changed."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: RefusedError,
    401: NotAllowedError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    413: RefusedError,
    415: RefusedError,
    422: RefusedError,
    502: NotReadyError,
    503: NotReadyError,
    504: NotReadyError,
}


def api_error(status: int, body: Mapping[str, object]) -> ApiError:
    """Return the exception for an answer of the server that is no success."""
    return _BY_STATUS.get(status, ApiError)(status, body)
