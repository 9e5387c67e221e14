"""The errors that Millwright raises on purpose. This module imports nothing else of the project.

An error has an HTTP status, a machine code that never changes, and a sentence that tells a person what to do.
Errors are caught in two places only: the web edge and the session runner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class MillwrightError(Exception):
    """A failure with a message for people, a code for programs and an HTTP status.

    Parameters
    ----------
    message : str
        What happened and what to do about it, as one or two sentences.
    **facts
        Further JSON-able fields of the error body.

    Attributes
    ----------
    detail : str
        What only an operator may read: hosts, users, what a driver said. It is no part of the body.
    """

    status = 500
    code = "internal_error"
    session_state = "failed"
    """The state in which a session ends that raises this."""

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts: dict[str, Any] = facts
        self.detail = ""

    def __str__(self) -> str:
        """Return the message with its detail, for logs and terminals."""
        return f"{self.message} ({self.detail})" if self.detail else self.message

    def body(self) -> dict[str, object]:
        """Return the JSON body of the response, in the form that all errors share."""
        return {"success": False, "error": self.message, "code": self.code, **self.facts}


def describe_error(error: Exception, *, with_detail: bool = True) -> str:
    """Return the sentence of an error, or type and text of one that was not raised on purpose.

    The text alone may say nothing: it is a bare key for KeyError, and empty for MemoryError. The detail is for logs
    and operators only.
    """
    if isinstance(error, MillwrightError):
        return str(error) if with_detail else error.message
    return ": ".join(filter(None, (type(error).__name__, str(error))))


class MalformedBody(MillwrightError):
    """The request cannot be parsed: not JSON, NaN, duplicate keys, nested too deeply."""

    status, code = 400, "malformed"


class Unauthorized(MillwrightError):
    """No API key was sent, or one that is unknown or revoked."""

    status, code = 401, "unauthorized"


class Forbidden(MillwrightError):
    """The key's role does not allow this, or the request comes from another site or host."""

    status, code = 403, "forbidden"


class NotFound(MillwrightError):
    """There is nothing of that name that this tenant may see."""

    status, code = 404, "not_found"


class MethodNotAllowed(MillwrightError):
    """The path exists, the method does not."""

    status, code = 405, "method_not_allowed"


class Conflict(MillwrightError):
    """The request conflicts with the present state."""

    status, code = 409, "conflict"


class TrainingBusy(Conflict):
    """Another training of the same model holds its lock."""

    code = "training_in_progress"

    def __init__(self, **facts: object) -> None:
        message = "Training already in progress. Please wait and try again."
        super().__init__(message, is_training=True, **facts)


class NoChampion(Conflict):
    """There is no promoted version to predict with."""

    code = "no_champion"


class TrainingCancelled(Conflict):
    """The session was cancelled on request."""

    code = "cancelled"
    session_state = "cancelled"


class BodyTooLarge(MillwrightError):
    """The request body is over the limit."""

    status, code = 413, "too_large"


class UnsupportedMediaType(MillwrightError):
    """The body has a format that this route does not read."""

    status, code = 415, "unsupported_media_type"


class InvalidContent(MillwrightError):
    """The request was parsed, but its content is not acceptable."""

    status, code = 422, "invalid"


class InvalidRecords(InvalidContent):
    """Some records are invalid; every error is listed.

    Parameters
    ----------
    errors : sequence of mapping
        ``{"record", "field", "code", "value", "message"}`` for each error; ``record`` counts from 1.
    """

    code = "invalid_records"

    def __init__(self, errors: Sequence[Mapping[str, object]], **facts: object) -> None:
        sentences = [error["message"] for error in errors]
        details = [{k: v for k, v in error.items() if k != "message"} for error in errors]
        super().__init__("Data validation failed", validation_errors=sentences, errors=details, **facts)


class NotEnoughData(InvalidContent):
    """There are fewer rows than a model needs; the message names the minimum."""

    code = "not_enough_data"


class DataFileInvalid(InvalidContent):
    """A data file on disk (often edited by hand) cannot be read; the message names file and line."""

    code = "data_file_invalid"


class TooManyRequests(MillwrightError):
    """The caller's rate limit is used up."""

    status, code = 429, "too_many_requests"


class TrainingFailed(MillwrightError):
    """A session ended as ``failed``; nothing has changed."""

    status, code = 500, "training_failed"


class ParityFailed(TrainingFailed):
    """The saved model, loaded in a fresh process, predicts differently from the trained one."""

    code = "parity_failed"


class LeakySplit(TrainingFailed):
    """The split certificate is invalid: training rows overlap the held-out rows."""

    code = "leaky_split"


class ArtefactCorrupt(MillwrightError):
    """A stored file is damaged: it does not match its manifest."""

    status, code = 500, "artefact_corrupt"


class BackupCorrupt(InvalidContent):
    """A backup failed its verification; it cannot be restored."""

    code = "backup_corrupt"


class StorageFailed(MillwrightError):
    """The disk or the database refused an operation; the message names the file."""

    status, code = 500, "storage_failed"


class MissingExtra(MillwrightError):
    """An optional library is not installed; the message says how to install it."""

    status, code = 501, "missing_extra"


class DiskFull(MillwrightError):
    """There is no space left; nothing has changed."""

    status, code = 507, "disk_full"


class DeliveryRefused(MillwrightError):
    """What was to be sent to another server did not arrive there."""

    status, code = 502, "not_delivered"


class NotReady(MillwrightError):
    """The server cannot answer this yet."""

    status, code = 503, "not_ready"


class Interrupted(MillwrightError):
    """The session was interrupted (a process died or the server stopped); nothing has changed."""

    status, code = 503, "interrupted"
    session_state = "interrupted"


class ConfigurationError(MillwrightError):
    """A setting is wrong; the server does not start."""

    code = "configuration"
