"""A training session as an object: follow it, read its verdict, undo it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from millwright_client.connection import Connection
from millwright_client.errors import Answer, ServerUnreachableError, TrainingFailedError
from millwright_client.progress import open_display

POLL_SECONDS = 0.5
STORED_STATES = ("completed", "rejected")
ENDED_STATES = (*STORED_STATES, "failed", "cancelled", "interrupted")
END_EVENT = "end"
NOTHING_NEW = "nothing_new"
"""The state of a training whose records were all known: no session was started."""
_ERROR_STATUSES = {"failed": 500, "cancelled": 409, "interrupted": 503}


@dataclass(frozen=True)
class Verdict:
    """What came of a training.

    Attributes
    ----------
    promoted : bool
        Whether the new version serves now.
    state : str
        ``completed``, ``rejected``, ``failed``, ``cancelled``, ``interrupted``, or ``nothing_new``.
    version : int or None
        The version that was made.
    reasons : tuple of str
        Why it was promoted, or why not.
    metrics : dict
        On held-out data, beside the simple rules'.
    """

    promoted: bool
    state: str
    version: int | None
    message: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    metrics: Answer

    def __bool__(self) -> bool:
        """Return whether the new version serves."""
        return self.promoted


@dataclass(frozen=True)
class Event:
    """Something that happened in a session."""

    id: int
    name: str
    data: Answer


class TrainingSession:
    """One training.

    Parameters
    ----------
    connection : Connection
        To the server on which it runs.
    state : dict
        The session as the server describes it.
    show_progress : bool, optional
        Whether ``wait`` shows how far it is; None: on a terminal and in a notebook.
    """

    def __init__(self, connection: Connection, state: Answer, show_progress: bool | None = None) -> None:
        self._connection = connection
        self._show_progress = show_progress
        self.json = state
        """The session as the server described it last."""

    @property
    def id(self) -> int | None:
        """Its number; None where all records were known already, so that nothing was started."""
        number = self.json["training_session_id"]
        return None if number is None else int(number)

    @property
    def state(self) -> str:
        """``queued``, ``running``, one of the five ends, or ``nothing_new``, as of the last look."""
        return NOTHING_NEW if self.id is None else str(self.json["state"])

    @property
    def has_ended(self) -> bool:
        """Whether it goes on no longer, as of the last look."""
        return self.state in (*ENDED_STATES, NOTHING_NEW)

    @property
    def verdict(self) -> Verdict | None:
        """What came of it; None while it runs."""
        if not self.has_ended:
            return None
        return Verdict(
            promoted=bool(self.json.get("promoted")),
            state=self.state,
            version=self.json.get("version"),
            message=str(self.json.get("message") or ""),
            reasons=tuple(self.json.get("reasons") or ()),
            warnings=tuple(self.json.get("warnings") or ()),
            metrics=dict(self.json.get("metrics") or {}),
        )

    def refresh(self) -> Self:
        """Ask the server how far it is."""
        if self.id is not None:
            self.json = self._connection.get(f"/train/sessions/{self.id}")
        return self

    def wait(self, timeout_seconds: float | None = None) -> Self:
        """Wait for the end, although the server may restart meanwhile.

        Raises
        ------
        TrainingFailedError
            It ended without a version: failed, cancelled or interrupted.
        TimeoutError
            It goes on after this time; wait again, or cancel it.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with open_display(self._show_progress) as display:
            while not self.has_ended:
                display.show(self.json)
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError(f"Session {self.id} goes on after {timeout_seconds:g} seconds")
                time.sleep(POLL_SECONDS)
                self._connection.insist(self.refresh)
        if self.state not in (*STORED_STATES, NOTHING_NEW):
            raise self._failure()
        return self

    def events(self) -> Iterator[Event]:
        """Yield what happens, as it happens, until the end; a stream that breaks off is taken up again."""
        last, name = 0, ""
        while self.id is not None and name != END_EVENT:
            had_ended, before = self.has_ended, last
            with suppress(ServerUnreachableError):
                for event in self._stream(last):
                    last, name = event.id, event.name
                    yield event
            self._connection.insist(self.refresh)
            # A server that stops ends its streams, too: only that of a session that had ended is complete.
            if had_ended and last == before:
                return
            # A proxy may end each stream at once.
            if name != END_EVENT:
                time.sleep(POLL_SECONDS)

    def cancel(self) -> Self:
        """End it; nothing changes."""
        self.json = self._connection.change(f"/train/sessions/{self.id}/cancel")
        return self

    def undo(self) -> TrainingSession:
        """Take its records out again and train without them, keeping later ones; return that session."""
        return self._start(f"/train/undo/{self.id}")

    def accept(self, name: str | None = None) -> TrainingSession:
        """Learn its records from quarantine, and promote the model that has learnt them; return that session.

        Parameters
        ----------
        name : str, optional
            The person who accepts that locked severe cases get lower scores, where the server asks for one.
        """
        return self._start(f"/train/sessions/{self.id}/accept", {"accepted_by": name} if name else None)

    def retry(self) -> TrainingSession:
        """Train again with the records of a session that failed or was interrupted; return that session."""
        return self._start(f"/train/sessions/{self.id}/retry")

    def _start(self, path: str, document: object = None) -> TrainingSession:
        return start_session(self._connection, path, document, self._show_progress)

    def _stream(self, last: int) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in self._connection.stream(f"/train/sessions/{self.id}/events", str(last or "")):
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
                continue
            if "data" in fields:
                yield Event(int(fields.get("id", 0)), fields.get("event", ""), json.loads(fields["data"]))
            fields = {}

    def _failure(self) -> TrainingFailedError:
        error = self.json.get("error") or {}
        facts = {"training_session_id": self.id, "state": self.state}
        body = {"code": "training_failed", "error": self.json.get("message"), **error, **facts}
        return TrainingFailedError(int(error.get("status", _ERROR_STATUSES[self.state])), body)


def start_session(
    connection: Connection, path: str, document: object = None, show_progress: bool | None = None
) -> TrainingSession:
    """Start a training in the background, once, whatever a proxy does to the answer."""
    connection.require_server()
    answer = connection.change(path, document, respond_async=True)
    session = TrainingSession(connection, answer, show_progress)
    if session.id is not None and not session.has_ended:
        connection.insist(session.refresh)
    return session
