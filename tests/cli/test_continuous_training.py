"""``schedule models`` decides, trains, and exits with a code that a cron job can read."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from prediction.contract import ModelKey
from settings import Settings
from storage.container import open_storage
from storage.db.scheduler_runs import RetrainDecisions
from storage.devices.failures import FailureEvent, Failures
from tests.cli.runner import run, run_json
from tests.prediction.rul.conftest import SMALL, fill_fleet
from training_manager import open_manager

COMMAND = ("schedule", "models")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a plant with a trained model of remaining useful life."""
    folder = tmp_path_factory.mktemp("plant")
    manager = open_manager(Settings(home=folder, sentence_model="none", executor="in-process"))
    fill_fleet(manager.storage.database)
    session = manager.train(ModelKey("rul", "pumps"), [], SMALL).session
    assert session is not None and session.promoted
    manager.close()
    manager.storage.close()
    return folder


def test_an_empty_plant_has_nothing_to_do(tmp_path):
    assert run_json(*COMMAND, "--run-once", home=tmp_path, code=3)["decisions"] == []


def test_a_model_that_does_well_is_left_alone_and_the_decision_kept(home):
    (decision,) = run_json(*COMMAND, "--run-once", home=home, code=3)["decisions"]
    assert (decision["name"], decision["action"], decision["session_state"]) == ("pumps", "leave", None)
    storage = open_storage(Settings(home=home))
    assert [d.action for d in RetrainDecisions(storage.database).list("default")] == ["leave"]
    storage.close()


def test_a_model_that_is_due_is_trained(home):
    storage = open_storage(Settings(home=home))
    events: list[FailureEvent] = [
        {"device_id": "P-000", "event_type": "failure", "event_time": datetime(2025, 7, day, tzinfo=UTC)}
        for day in range(1, 16)
    ]
    Failures(storage.database).ingest("default", events)
    storage.close()
    assert run_json(*COMMAND, "--dry-run", home=home)["decisions"][0]["action"] == "train"
    result = run(*COMMAND, "--run-once", "--tenant", "default", "--json", home=home)
    (decision,) = json.loads(result.stdout)["decisions"]
    assert decision["session_state"] == {0: "completed", 4: "rejected"}[result.exit_code]
    assert run(*COMMAND, "--run-once", home=home).exit_code in (3, 5)
