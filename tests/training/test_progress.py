"""The events of a session are written beside it, whatever fails in that."""

from __future__ import annotations

from typing import Any

import pytest

from storage.db.session_events import SessionEventStore
from tests.toy_family import records
from tests.training.conftest import KEY, ended_session
from training_manager import TrainingManager


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_event_that_cannot_be_written_costs_no_other(
    manager: TrainingManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_event = SessionEventStore.add

    def fail_in_fit(store: SessionEventStore, session_id: int, event: str, *facts: Any, **fields: Any) -> int:
        if event == "fit":
            raise TypeError("Object of type float32 is not JSON serializable")
        return add_event(store, session_id, event, *facts, **fields)

    monkeypatch.setattr(SessionEventStore, "add", fail_in_fit)
    session = ended_session(manager.train(KEY, records(50)))
    assert session.state == "completed"
    names = [event.event for event in manager.storage.session_events.list(session.id)]
    assert "prepare" in names and "fit" not in names and "evaluate" in names
