"""The progress of a session, written into the database while it runs."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import structlog

from errors import describe_error
from storage.container import Storage
from storage.db.sessions import LiveSessionFields
from storage.db.tables import utc_now
from training.execution.ipc import nan_to_none

log = structlog.get_logger()

# Percentage of a session that is done when a stage begins.
STAGES: Final = {"prepare": 5, "fit": 15, "evaluate": 60, "refit": 70, "save": 85, "verify": 92}

_NEXT_PERCENTAGE: Final = dict(zip(STAGES, [*list(STAGES.values())[1:], 99], strict=True))
_MIN_INTERVAL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class _Event:
    """A report of the training, with the stage in which it was made."""

    name: str
    stage: str
    percentage: int
    facts: dict[str, object]


class ProgressWriter:
    """A progress that writes every stage, and steps within a stage at most five times a second.

    It writes in a thread of its own, so that a session neither waits for the database nor fails with it. Leave
    the block before the session's end is written: the end is the last event.
    """

    def __init__(self, storage: Storage, session_id: int) -> None:
        self._session_events = storage.session_events
        self._session_id = session_id
        self._stage = "prepare"
        self._last_event = 0.0
        self._events: queue.SimpleQueue[_Event | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name=f"events-{session_id}", daemon=True)

    def __enter__(self) -> ProgressWriter:
        self._writer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._events.put(None)
        self._writer.join()

    def __call__(self, stage: str, **facts: object) -> None:
        if stage in STAGES:
            self._stage, percentage = stage, STAGES[stage]
        elif time.monotonic() - self._last_event < _MIN_INTERVAL_SECONDS:
            return
        else:
            percentage = self._percentage(facts)
        self._last_event = time.monotonic()
        self._events.put(_Event(stage, self._stage, percentage, facts))

    def _percentage(self, facts: dict[str, Any]) -> int:
        """Return how far the session is, from how many steps of its stage are done."""
        begin, end = STAGES[self._stage], _NEXT_PERCENTAGE[self._stage]
        share: float = facts.get("done", 0) / max(1, facts.get("of", 1))
        return round(begin + min(1.0, share) * (end - begin))

    def _write(self) -> None:
        while (event := self._events.get()) is not None:
            columns: LiveSessionFields = {
                "state": "running",
                "stage": event.stage,
                "progress_pct": event.percentage,
            }
            if event.name == "prepare":
                columns["started_at"] = utc_now()
            try:
                facts = nan_to_none({"progress_pct": event.percentage, **event.facts})
                self._session_events.add(self._session_id, event.name, facts, **columns)
            except Exception as error:  # of whatever kind: the later events must be written
                reason = describe_error(error)
                log.warning("event_lost", session_id=self._session_id, event_name=event.name, reason=reason)
