"""Looks at models of the tiny family, by a clock that the test turns: brakes hold, failures are told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from errors import ConfigurationError, StorageFailed
from prediction import registry
from prediction.contract import ModelKey
from prediction.monitoring import FamilyMonitor, MonitoringReport, ProductionMetrics
from settings import read_settings
from tests import toy_family
from tests.training.conftest import KEY
from training.tracking import outbox

START = datetime(2026, 3, 1, tzinfo=UTC)


class ToyUpkeep(FamilyMonitor):
    """Finds fault with whatever the test says."""

    family = "toy"
    complaints: ClassVar[dict[str, str]] = {}
    measured: ClassVar[dict[str, ProductionMetrics]] = {}

    def report(self, name: str, now: datetime) -> MonitoringReport:
        live = self.champion(self.key(name))
        if self.complaints.get(name) == "broken":
            raise StorageFailed("The champion cannot be read")
        if self.complaints.get(name) == "foreign":
            raise KeyError("promise")
        production = self.measured.get(name, ProductionMetrics())
        return MonitoringReport(version=live.number, production=production, issue=self.complaints.get(name))


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(ToyUpkeep, "complaints", {})
    monkeypatch.setattr(ToyUpkeep, "measured", {})
    monkeypatch.setattr(ToyUpkeep, "batch_training", False)
    kept = replace(toy_family.ENTRY, monitor="tests.training.monitoring.test_monitor:ToyUpkeep")
    monkeypatch.setattr(registry, "FAMILIES", {"toy": kept})


class Plant:
    """A training manager with models that have champions, and a clock to turn."""

    def __init__(self, manager) -> None:
        self.manager = manager
        self.now = START
        manager.monitor.clock = lambda: self.now

    def model(self, name: str = "default", tenant: str = "default") -> None:
        self.manager.train(ModelKey("toy", name, tenant), toy_family.records(20))

    def look(self, hours: float = 0.0, tenant: str | None = None) -> list[tuple[str, str]]:
        self.now += timedelta(hours=hours)
        found = self.manager.monitor.check(f"{self.now}", tenant)
        return [(decision.name, decision.action) for decision in found]

    def scheduled(self, tenant: str = "default"):
        return [one for one in self.manager.sessions.list(tenant) if one.kind in ("schedule", "fleet")]


@pytest.fixture
def plant(manager):
    made = Plant(manager)
    made.model()
    return made


def test_a_session_that_was_started_says_why(plant):
    assert plant.look() == [("default", "leave")]
    ToyUpkeep.complaints["default"] = "it is off"
    assert plant.look(1) == [("default", "train")]
    (session,) = plant.scheduled()
    assert (session.kind, session.state, session.details["trigger_reasons"]) == (
        "schedule",
        "completed",
        ["It is off."],
    )
    (kept, _) = plant.manager.monitor.decisions.list("default")
    assert (kept.session_id, kept.action, kept.reasons) == (session.id, "train", ["It is off."])


def test_a_model_cools_down(plant):
    ToyUpkeep.complaints["default"] = "it is off"
    actions = [plant.look(6)[0][1] for _ in range(12)]
    assert actions == ["train", "wait", "wait", "wait"] * 3
    assert len(plant.scheduled()) == 3


def test_trainings_in_vain_become_rarer(plant, monkeypatch):
    champion = plant.manager.storage.versions.pointer(KEY.path)
    ToyUpkeep.complaints["default"] = "it is off"
    monkeypatch.setattr(ToyUpkeep, "retrain_options", lambda self, name, changed: {"bias": 2.0})
    trained = [day for day in range(40) if plant.look(24)[0][1] == "train"]
    assert trained == [0, 2, 6, 14, 30]
    assert plant.manager.storage.versions.pointer(KEY.path) == champion


def test_the_budget_is_each_tenants_own(plant):
    for name in "abcd":
        plant.model(name, "other")
        ToyUpkeep.complaints[name] = "it is off"
    ToyUpkeep.complaints["default"] = "it is off"
    plant.manager.monitor.policy = replace(plant.manager.monitor.policy, max_trainings_per_week=2)
    assert plant.look() == [
        ("default", "train"),
        ("a", "train"),
        ("b", "train"),
        ("c", "wait"),
        ("d", "wait"),
    ]
    assert plant.look(24, "other")[2:] == [("c", "wait"), ("d", "wait")]
    assert plant.look(24 * 7, "other")[:2] == [("a", "train"), ("b", "train")]
    assert {one.tenant for one in plant.manager.monitor.decisions.list("other")} == {"other"}
    assert len(plant.scheduled("default")) == 1


def test_a_look_that_was_cut_short_goes_on_where_it_stopped(plant):
    plant.model("second")
    ToyUpkeep.complaints.update(default="it is off", second="it is off")
    watch = plant.manager.monitor
    first = watch.plan()[0]
    watch.decisions.add(replace(first, run_id="monday"))
    assert [one.name for one in watch.check("monday")] == ["second"]
    assert watch.check("monday") == []
    assert [session.name for session in plant.scheduled()] == ["second"]


def test_what_cannot_be_read_is_told_and_stops_no_other(plant):
    plant.model("second")
    ToyUpkeep.complaints.update(default="broken", second="it is off")
    assert plant.look() == [("default", "leave"), ("second", "train")]
    (broken,) = plant.manager.monitor.decisions.list("default", "toy", "default")
    assert broken.reasons == ["The champion cannot be read"]


def test_a_version_from_elsewhere_or_a_damaged_pointer_stops_no_other(plant):
    for name in ("damaged", "second"):
        plant.model(name)
    ToyUpkeep.complaints.update(default="foreign", second="it is off")
    plant.manager.storage.versions.pointer_file(ModelKey("toy", "damaged").path).write_text("{")
    assert plant.look() == [("damaged", "leave"), ("default", "leave"), ("second", "train")]
    told = {one.name: one.reasons for one in plant.manager.monitor.decisions.list("default")}
    assert told["default"] == ["It could not be looked at: KeyError"]
    assert "champion.json is damaged" in told["damaged"][0]


def test_looking_at_models_does_not_drive_out_those_that_are_asked(plant):
    plant.manager.model_cache.capacity = 1
    plant.manager.model_cache.current(KEY)
    plant.model("second")
    plant.look()
    assert plant.manager.model_cache.loaded() == [KEY]


def test_a_champion_of_another_worker_is_seen_at_the_next_look(plant):
    assert plant.manager.monitor.plan()[0].evidence["version"] == 1
    plant.manager.train(KEY, toy_family.records(20, 100))
    assert plant.manager.monitor.plan()[0].evidence["version"] == 2


def test_what_was_measured_in_production_is_tracked_once_a_look(plant, monkeypatch):
    plant.model("second")
    ToyUpkeep.measured["default"] = ProductionMetrics({"mae": 3.0, "failures": 6, "table": {}}, 2.0, 4.0)
    notes = outbox.MlflowTracking(plant.manager.storage)
    carried: list[Any] = []
    monkeypatch.setattr(outbox, "start_uploader", carried.append)
    monkeypatch.setattr(plant.manager.monitor, "_tracking", notes)
    plant.look()
    (note,) = [json.loads(file.read_text()) for file in notes.waiting.glob("*.json")]
    assert note["model"] == {"family": "toy", "name": "default", "tenant": "default"}
    assert note["performance"] == {
        "mae": 3.0,
        "failures": 6,
        "promised_error": 2.0,
        "measured_error": 4.0,
        "ratio": 0.5,
    }
    assert len(carried) == 1, "one process carries all of them"


def test_a_model_that_is_being_trained_waits(plant):
    ToyUpkeep.complaints["default"] = "it is off"
    with plant.manager.storage.training_lock(KEY.path):
        (decision,) = plant.manager.monitor.check("busy")
    assert decision.action == "wait"
    assert plant.manager.monitor.decisions.list("default")[0].action == "wait"
    assert "is being trained" in decision.reasons[-1] or "training" in decision.reasons[-1].lower()
    assert plant.look(1) == [("default", "train")], "what did not happen needs no pause"


def test_models_that_are_trained_together_share_a_session(plant, monkeypatch):
    monkeypatch.setattr(ToyUpkeep, "batch_training", True)
    plant.model("second")
    ToyUpkeep.complaints.update(default="it is off", second="it is odd")
    assert plant.look() == [("default", "train"), ("second", "train")]
    (session,) = plant.scheduled()
    assert session.details["trigger_reasons"] == ["default: It is off.", "second: It is odd."]
    assert {item["name"] for item in session.items} == {"default", "second"}
    assert plant.look(1) == [("default", "wait"), ("second", "wait")]


def test_options_that_are_refused_by_now_keep_no_other_of_the_fleet_from_training(plant, monkeypatch):
    monkeypatch.setattr(ToyUpkeep, "batch_training", True)
    plant.model("second")
    ToyUpkeep.complaints.update(default="it is off", second="it is odd")
    options = {"default": {"gone": 1}, "second": {}}
    monkeypatch.setattr(ToyUpkeep, "retrain_options", lambda self, name, changed: options[name])
    assert sorted(plant.look()) == [("default", "wait"), ("second", "train")]


def test_a_dry_look_changes_nothing(plant):
    ToyUpkeep.complaints["default"] = "it is off"
    (decision,) = plant.manager.monitor.plan()
    assert (decision.action, decision.session_id) == ("train", None)
    assert plant.manager.monitor.decisions.list("default") == []
    assert plant.scheduled() == []


def test_answers_may_be_kept_for_as_long_as_the_settings_allow(plant):
    longest = read_settings({"MILLWRIGHT_PREDICTION_RETENTION_DAYS": "100000"})
    plant.manager.monitor._storage = replace(plant.manager.storage, settings=longest)
    assert plant.look() == [("default", "leave")]
    with pytest.raises(ConfigurationError):
        read_settings({"MILLWRIGHT_PREDICTION_RETENTION_DAYS": "900000"})
