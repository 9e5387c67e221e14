"""Looks at models of the tiny family, by a clock that the test turns: brakes hold, failures are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from errors import StorageFailed
from prediction import registry
from prediction.contract import ModelKey
from prediction.upkeep import Evidence, Upkeep
from tests import toy_family
from tests.training.conftest import KEY

START = datetime(2026, 3, 1, tzinfo=UTC)


class ToyUpkeep(Upkeep):
    """Finds fault with whatever the test says."""

    family = "toy"
    complaints: ClassVar[dict[str, str]] = {}

    def evidence(self, name: str, now: datetime) -> Evidence:
        if self.complaints.get(name) == "broken":
            raise StorageFailed("The champion cannot be read")
        return Evidence(version=1, complaint=self.complaints.get(name))


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(ToyUpkeep, "complaints", {})
    monkeypatch.setattr(ToyUpkeep, "together", False)
    kept = replace(toy_family.ENTRY, upkeep="tests.training.test_watch:ToyUpkeep")
    monkeypatch.setattr(registry, "FAMILIES", {"toy": kept})


class Plant:
    """A front desk with models that have champions, and a clock to turn."""

    def __init__(self, manager) -> None:
        self.manager = manager
        self.now = START
        manager.watch.clock = lambda: self.now

    def model(self, name: str = "default", tenant: str = "default") -> None:
        self.manager.train(ModelKey("toy", name, tenant), toy_family.records(20))

    def look(self, hours: float = 0.0, tenant: str | None = None) -> list[tuple[str, str]]:
        self.now += timedelta(hours=hours)
        found = self.manager.watch.look(f"{self.now}", tenant)
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
    assert (session.kind, session.state, session.details["why"]) == ("schedule", "completed", ["It is off."])
    (kept, _) = plant.manager.watch.decisions.list("default")
    assert (kept.session_id, kept.action, kept.reasons) == (session.id, "train", ["It is off."])


def test_a_model_cools_down(plant):
    ToyUpkeep.complaints["default"] = "it is off"
    actions = [plant.look(6)[0][1] for _ in range(12)]
    assert actions == ["train", "wait", "wait", "wait"] * 3
    assert len(plant.scheduled()) == 3


def test_trainings_in_vain_become_rarer(plant):
    champion = plant.manager.storage.versions.pointer(KEY.path)
    ToyUpkeep.complaints["default"] = "it is off"
    ToyUpkeep.options = lambda self, name, changed: {"bias": 2.0}
    try:
        trained = [day for day in range(40) if plant.look(24)[0][1] == "train"]
    finally:
        del ToyUpkeep.options
    assert trained == [0, 2, 6, 14, 30]
    assert plant.manager.storage.versions.pointer(KEY.path) == champion


def test_the_budget_is_each_tenants_own(plant):
    for name in "abcd":
        plant.model(name, "other")
        ToyUpkeep.complaints[name] = "it is off"
    ToyUpkeep.complaints["default"] = "it is off"
    plant.manager.watch.policy = replace(plant.manager.watch.policy, budget=2)
    assert plant.look() == [
        ("default", "train"),
        ("a", "train"),
        ("b", "train"),
        ("c", "wait"),
        ("d", "wait"),
    ]
    assert plant.look(24, "other")[2:] == [("c", "wait"), ("d", "wait")]
    assert plant.look(24 * 7, "other")[:2] == [("a", "train"), ("b", "train")]
    assert {one.tenant for one in plant.manager.watch.decisions.list("other")} == {"other"}
    assert len(plant.scheduled("default")) == 1


def test_a_look_that_was_cut_short_goes_on_where_it_stopped(plant):
    plant.model("second")
    ToyUpkeep.complaints.update(default="it is off", second="it is off")
    watch = plant.manager.watch
    first = watch.due()[0]
    watch.decisions.keep(replace(first, look="monday"))
    assert [one.name for one in watch.look("monday")] == ["second"]
    assert watch.look("monday") == []
    assert [session.name for session in plant.scheduled()] == ["second"]


def test_what_cannot_be_read_is_told_and_stops_no_other(plant):
    plant.model("second")
    ToyUpkeep.complaints.update(default="broken", second="it is off")
    assert plant.look() == [("default", "leave"), ("second", "train")]
    (broken,) = plant.manager.watch.decisions.list("default", "toy", "default")
    assert broken.reasons == ["The champion cannot be read"]


def test_a_model_that_is_being_trained_waits(plant):
    ToyUpkeep.complaints["default"] = "it is off"
    with plant.manager.storage.training_lock(KEY.path):
        (decision,) = plant.manager.watch.look("busy")
    assert decision.action == "wait"
    assert plant.manager.watch.decisions.list("default")[0].action == "wait"
    assert "is being trained" in decision.reasons[-1] or "training" in decision.reasons[-1].lower()
    assert plant.look(1) == [("default", "train")], "what did not happen needs no pause"


def test_models_that_are_trained_together_share_a_session(plant, monkeypatch):
    monkeypatch.setattr(ToyUpkeep, "together", True)
    plant.model("second")
    ToyUpkeep.complaints.update(default="it is off", second="it is odd")
    assert plant.look() == [("default", "train"), ("second", "train")]
    (session,) = plant.scheduled()
    assert session.details["why"] == ["default: It is off.", "second: It is odd."]
    assert {item["name"] for item in session.items} == {"default", "second"}
    assert plant.look(1) == [("default", "wait"), ("second", "wait")]


def test_a_dry_look_changes_nothing(plant):
    ToyUpkeep.complaints["default"] = "it is off"
    (decision,) = plant.manager.watch.due()
    assert (decision.action, decision.session_id) == ("train", None)
    assert plant.manager.watch.decisions.list("default") == []
    assert plant.scheduled() == []
