"""Every error Millwright raises on purpose: a leaf that imports nothing of the house.

An error knows the HTTP status it is answered with, a machine code that never changes, and a sentence that
tells a person what to do. They are caught in two places only: the web edge and the session runner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class MillwrightError(Exception):
    """A failure with a sentence for a person, a code for a machine and an HTTP status.

    Parameters
    ----------
    message : str
        What happened and what to do about it, as one or two sentences.
    **facts
        Further JSON-able fields of the error body.
    """

    status = 500
    code = "internal_error"
    session_state = "failed"
    """The state in which a session ends that raises this."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def body(self) -> dict[str, Any]:
        """The JSON body of the answer, in the one shape all errors share."""
        return {"success": False, "error": self.message, "code": self.code, **self.facts}


class MalformedBody(MillwrightError):
    """The request cannot be read at all: no JSON, NaN, duplicate keys, too deep."""

    status, code = 400, "malformed"


class Unauthorized(MillwrightError):
    """No API key, or one that is unknown or revoked."""

    status, code = 401, "unauthorized"


class Forbidden(MillwrightError):
    """The key's role does not allow this, or the request comes from a foreign page or host."""

    status, code = 403, "forbidden"


class NotFound(MillwrightError):
    """Nothing of that name, or nothing this tenant may see."""

    status, code = 404, "not_found"


class MethodNotAllowed(MillwrightError):
    """The path exists, the method does not."""

    status, code = 405, "method_not_allowed"


class Conflict(MillwrightError):
    """The request contradicts the present state."""

    status, code = 409, "conflict"


class TrainingBusy(Conflict):
    """Another training of the same model holds its lock."""

    code = "training_in_progress"

    def __init__(self, **facts: Any) -> None:
        message = "Training already in progress. Please wait and try again."
        super().__init__(message, is_training=True, **facts)


class NoChampion(Conflict):
    """There is no promoted version that could answer."""

    code = "no_champion"


class TrainingCancelled(Conflict):
    """The session was cancelled on request."""

    code = "cancelled"
    session_state = "cancelled"


class BodyTooLarge(MillwrightError):
    """The request body is over the limit."""

    status, code = 413, "too_large"


class UnsupportedMediaType(MillwrightError):
    """A body in a format this route does not read."""

    status, code = 415, "unsupported_media_type"


class InvalidContent(MillwrightError):
    """The request was read, and what it says is not acceptable."""

    status, code = 422, "invalid"


class InvalidRecords(InvalidContent):
    """Rows at fault, every one of them named.

    Parameters
    ----------
    errors : sequence of mapping
        One ``{"record", "field", "code", "value", "message"}`` a fault; ``record`` counts from 1.
    """

    code = "invalid_records"

    def __init__(self, errors: Sequence[Mapping[str, Any]], **facts: Any) -> None:
        sentences = [error["message"] for error in errors]
        details = [{k: v for k, v in error.items() if k != "message"} for error in errors]
        super().__init__("Data validation failed", validation_errors=sentences, errors=details, **facts)


class NotEnoughData(InvalidContent):
    """Fewer rows than a model needs; the message names the minimum."""

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
    """The saved model, loaded in a fresh process, does not answer like the model it came from."""

    code = "parity_failed"


class LeakySplit(TrainingFailed):
    """The split certificate does not hold: training rows overlap the held-out rows."""

    code = "leaky_split"


class ArtefactCorrupt(MillwrightError):
    """A stored file does not match its manifest."""

    status, code = 500, "artefact_corrupt"


class BackupCorrupt(InvalidContent):
    """A backup that fails its verification is never restored."""

    code = "backup_corrupt"


class StorageFailed(MillwrightError):
    """The disk or the database refused; the message names the file."""

    status, code = 500, "storage_failed"


class MissingExtra(MillwrightError):
    """What was asked for needs a library that Millwright runs without; the message says how to install it."""

    status, code = 501, "missing_extra"


class DiskFull(MillwrightError):
    """No space left; nothing has changed."""

    status, code = 507, "disk_full"


class NotReady(MillwrightError):
    """The server cannot answer this yet."""

    status, code = 503, "not_ready"


class Interrupted(MillwrightError):
    """The session was cut off (a process died or the server stopped); nothing has changed."""

    status, code = 503, "interrupted"
    session_state = "interrupted"


class ConfigurationError(MillwrightError):
    """A setting is wrong; the server does not start."""

    code = "configuration"
