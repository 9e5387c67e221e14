"""Plants under a simulated clock: a change is noticed and recovered from, a quiet plant is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from prediction.contract import Resources
from prediction.rul.predictor import RulPredictor
from prediction.rul.preprocessing.preprocessor import RulInput
from storage.devices.telemetry import Telemetry
from tests.training.monitoring.plant import HOUR, Plant, front_desk

ONLY_WORSE = {"retrain_min_new_data": 100.0, "retrain_max_age_days": 36_500, "retrain_cooldown_hours": 96}
"""Neither age nor much new data is a reason: what is left are errors and inputs."""

CHANGED_DAY = 12

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def changing(tmp_path_factory):
    """Twelve days as always, then devices whose wear shows half as much, for good."""
    with front_desk(tmp_path_factory.mktemp("changing"), **ONLY_WORSE) as manager:
        plant = Plant(manager)
        plant.begin()
        plant.days(CHANGED_DAY)
        plant.gain = 0.5
        plant.days(30)
        yield plant


def error_of(plant: Plant, version: int, devices: int = 12) -> float:
    """Return what a version says of the last devices to fail, every six hours, in hours off the truth."""
    storage = plant.manager.storage
    predictor = RulPredictor.load(storage.versions.folder(plant.key.path, version), Resources(None))
    names = [f"{plant.tenant}-{number:03d}" for number in range(1, plant.made + 1)]
    gone = [name for name in names if name not in {device.name for device in plant.running}][-devices:]
    asked: list[RulInput] = []
    truth = []
    for recorded in Telemetry(storage.database).stream(plant.tenant, gone):
        rows = [dict(zip(recorded.channels, row, strict=True)) for row in recorded.values.tolist()]
        for end in range(12, len(rows), 6):
            times = recorded.times[:end].tolist()
            asked.append({"device_id": None, "rows": rows[:end], "times": times, "dated": True})
            truth.append(min(60.0, (recorded.times[-1] - recorded.times[end - 1]) / HOUR))
    answers = [answer["rul_hours"] for answer in predictor.predict(asked, {})]
    return float(np.abs(np.array(answers) - truth).mean())


def test_a_plant_whose_wear_changes_is_noticed_and_its_new_model_wins_the_gate(changing):
    assert {decision.action for decision in changing.decisions[:CHANGED_DAY]} == {"leave"}
    first = changing.sessions()[0]
    assert first.promoted, first.reasons
    assert any(
        "mean absolute error was" in why and "was promised" in why for why in first.details["trigger_reasons"]
    )
    noticed = next(
        day for day, decision in enumerate(changing.decisions[CHANGED_DAY:]) if decision.action == "train"
    )
    assert noticed <= 12, "the first changed devices fail after three days"


def test_its_live_error_falls_again_and_then_it_is_left_alone(changing):
    champion = changing.manager.storage.versions.pointer(changing.key.path)
    before, after = error_of(changing, 1), error_of(changing, champion)
    assert after < 0.5 * before, (before, after)
    live = changing.performance()
    assert live["failures"] >= 20
    assert live["mae"] < 1.5 * after
    assert live["ratio"] > 0.8
    assert {decision.action for decision in changing.decisions[-8:]} == {"leave"}


def test_cooling_down_held_meanwhile(changing):
    days = [
        day for day, decision in enumerate(changing.decisions[CHANGED_DAY:]) if decision.action == "train"
    ]
    assert min(np.diff(days)) >= 4
    assert len(days) == len(changing.sessions()) <= 5


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Fifty days of a plant in which nothing changes but that devices fail and are replaced."""
    with front_desk(tmp_path_factory.mktemp("quiet"), **ONLY_WORSE) as manager:
        plant = Plant(manager, tenant="quiet")
        plant.begin(running=10)
        plant.days(50)
        yield plant


def test_a_quiet_plant_is_left_alone_over_many_looks(quiet):
    assert [decision.action for decision in quiet.decisions] == ["leave"] * 50
    assert quiet.sessions() == []
    assert quiet.performance()["failures"] == 30
    assert 0.8 < quiet.performance()["ratio"] < 1.4


def test_another_tenant_has_no_part_in_it(quiet):
    watch = quiet.manager.monitor
    assert watch.decisions.latest("default") == []
    assert watch.plan("default") == []
    assert [decision.tenant for decision in watch.plan()] == ["quiet"]


def test_a_sensor_that_reads_otherwise_is_noticed_before_anything_has_failed(quiet):
    assert not quiet.manager.monitor.plan()[0].evidence["changed"]
    quiet.offset = 1.5
    quiet.days(12, look=False)
    (decision,) = quiet.manager.monitor.plan()
    assert any("oil_pressure is not what it was in training" in reason for reason in decision.reasons)
    assert not any("temperature" in reason for reason in decision.reasons)
