"""What all routes that start a training session share: whether a request waits for the end, and how."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import request
from marshmallow import Schema

from api.http.context import manager
from api.http.fields import QueryFlag
from training_manager import TrainingOutcome

POLL_SECONDS = 0.02
_PREFER_HEADER = {
    "in": "header",
    "name": "Prefer",
    "required": False,
    "schema": {"type": "string"},
    "description": "`respond-async`: answer 202 at once.",
}
STARTS_A_SESSION: dict[str, Any] = {
    "method": "POST",
    "role": "train",
    "headers": (_PREFER_HEADER,),
    "idempotent": True,
}
"""The options that every route which starts a training session has in common."""


class WaitQuery(Schema):
    """Whether to wait for the end of the session."""

    respond_async = QueryFlag("Answer 202 at once; `Prefer: respond-async` does the same.", data_key="async")


def should_wait(query: Mapping[str, object]) -> bool:
    """Return whether the caller wants to wait for the end of the session."""
    preferences = [part.strip().lower() for part in request.headers.get("Prefer", "").split(",")]
    return not (query["respond_async"] or "respond-async" in preferences)


def wait_for_end(outcome: TrainingOutcome) -> TrainingOutcome:
    """Wait until the session of an outcome has ended, in whichever process it runs."""
    session = outcome.session
    while session is not None and not session.has_ended:
        time.sleep(POLL_SECONDS)
        session = manager().sessions.refresh(session)
        if session.has_ended:
            manager().worker_reload.refresh()
    return replace(outcome, session=session)
