"""What routes that start long work share: whether a request waits for the end, and how."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any, TypeVar

from flask import current_app, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema

from api.http.context import manager
from api.http.fields import QueryFlag
from api.training.event_stream import WAIT_SLOTS, WaitSlots
from api.training.training_response import accepted_response, build_response
from storage.db.sessions import Session
from training_manager import TrainingOutcome

T = TypeVar("T")

POLL_SECONDS = 0.02
# A training of minutes is not asked about fifty times a second.
MAX_POLL_SECONDS = 0.25
PREFER_HEADER = {
    "in": "header",
    "name": "Prefer",
    "required": False,
    "schema": {"type": "string"},
    "description": "`respond-async`: answer 202 at once.",
}
# The options that every route which starts a training session has in common.
STARTS_A_SESSION: dict[str, Any] = {
    "method": "POST",
    "role": "train",
    "headers": (PREFER_HEADER,),
    "idempotent": True,
}


class WaitQuery(Schema):
    """Whether to wait for the end of the session."""

    respond_async = QueryFlag("Answer 202 at once; `Prefer: respond-async` does the same.", data_key="async")


def should_wait(query: Mapping[str, object]) -> bool:
    """Return whether the caller wants to wait for the end of the session."""
    preferences = [part.strip().lower() for part in request.headers.get("Prefer", "").split(",")]
    return not (query["respond_async"] or "respond-async" in preferences)


def wait_for_end(outcome: TrainingOutcome) -> TrainingOutcome:
    """Wait until the session of an outcome has ended, in whichever process it runs.

    Returns
    -------
    TrainingOutcome
        Its session has not ended where the client has left, or where half of this worker's threads wait already:
        then the session goes on, and the response says so.
    """
    session = outcome.session
    if session is None or session.has_ended:
        return outcome
    ended = _poll_with_slot(lambda seconds: _wait_briefly(outcome, session, seconds))
    if ended is None:
        return outcome
    manager().worker_reload.refresh()
    return ended


def wait_for_job(job: Future[T]) -> bool:
    """Wait until a job is done; return False where it goes on, for the reasons of `wait_for_end`."""
    return bool(_poll_with_slot(lambda seconds: bool(wait([job], seconds).done) or None))


def _poll_with_slot(poll: Callable[[float], T | None]) -> T | None:
    """Poll with a slot until there is a result; return None where no slot is free, or the client has left."""
    slots: WaitSlots = current_app.extensions[WAIT_SLOTS]
    if not slots.acquire():
        return None
    try:
        pause = POLL_SECONDS
        while not _has_client_left():
            if (result := poll(pause)) is not None:
                return result
            pause = min(1.2 * pause, MAX_POLL_SECONDS)
    finally:
        slots.release()
    return None


def _wait_briefly(outcome: TrainingOutcome, session: Session, seconds: float) -> TrainingOutcome | None:
    """Return how a session ended; None if it goes on.

    Where this process runs it, an error arrives even if the database cannot record it.
    """
    if outcome.end is not None:
        wait([outcome.end], seconds)
        return outcome.end.result() if outcome.end.done() else None
    time.sleep(seconds)
    session = manager().sessions.refresh(session)
    return replace(outcome, session=session) if session.has_ended else None


def respond_at_end(outcome: TrainingOutcome) -> ResponseReturnValue:
    """Wait for the end of a session and return its response, or 202 where there is no waiting."""
    waited = wait_for_end(outcome)
    session = waited.session
    if session is None or session.has_ended:
        return build_response(waited)
    return accepted_response(session)


def _has_client_left() -> bool:
    """Return whether the client has closed its connection."""
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        return False
    try:
        pending: bytes = connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return not pending
