"""Telemetry that is judged as it arrives: stored with its episodes, whatever the size of the deliveries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from errors import NoChampion
from prediction.contract import ModelKey
from prediction.equipment.online_detection import EquipmentService, _read_device
from prediction.equipment.predictor import EquipmentPredictor
from storage.alarms.tables import alarms
from storage.db.database import Database
from storage.db.tables import utc_now
from storage.devices.asset_anomalies import AssetAnomalies
from storage.devices.telemetry import Telemetry, TelemetryRows
from storage.sensors.readings import to_microseconds
from tests.prediction.equipment.conftest import TEN_MINUTES, Plant, fill_pump, make_pump, to_rows


@dataclass
class Served:
    """A champion."""

    predictor: EquipmentPredictor
    number: int = 3


@dataclass
class OnlinePlant:
    """A plant with a model that serves."""

    plant: Plant
    served: Served

    @property
    def database(self) -> Database:
        return self.plant.database


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory):
    plant = Plant(tmp_path_factory.mktemp("online"))
    fill_pump(plant.database)
    model, _ = plant.train(algorithm="ridge")
    yield OnlinePlant(plant, Served(EquipmentPredictor(model.served)))
    plant.database.close()


def deliver(plant: OnlinePlant, tenant: str, size: int, count: int = 400):
    """Send rows up to now in parts, with a hot bearing from row 250 on, across a night at rows 400 to 410."""
    values = make_pump(count + 100, seed=5)[100:]
    values[250:, 5] += 4 * (values[250:, 0] > 5)
    start = to_microseconds(utc_now()) - count * TEN_MINUTES
    service = EquipmentService(plant.database, tenant, {"pump-1": ["pump-1"]}, lambda key: plant.served)
    results = []
    for first in range(0, count, size):
        rows = to_rows(values[first : first + size])
        times = [start + number * TEN_MINUTES for number in range(first, first + len(rows))]
        results.append(service.ingest(TelemetryRows(["pump-1"] * len(rows), times, rows)))
    return results


@pytest.mark.parametrize(("tenant", "size"), [("whole", 400), ("parts", 37)])
def test_a_lasting_fault_is_one_episode_however_it_is_delivered(plant, tenant, size):
    results = deliver(plant, tenant, size)
    assert sum(result.accepted for result in results) == 400
    assert len(Telemetry(plant.database).latest(tenant, "pump-1", 1_000)) == 400
    rows, _ = AssetAnomalies(plant.database).page(tenant)
    fault = [row for row in rows if row["alarms"] > 50]
    assert len(fault) == 1 and fault[0]["contributions"][0]["channel"] == "bearing"
    assert (fault[0]["model"], fault[0]["version"], fault[0]["severity"]) == ("pump-1", 3, "Critical")
    assert any(result.anomalies for result in results)
    # One episode raises one alarm, and further ones only where it becomes more severe.
    with plant.database.read() as connection:
        events = connection.execute(alarms.select().where(alarms.c.tenant == tenant)).all()
    own = [event for event in events if event.incident == f"asset-anomalies/{fault[0]['id']}"]
    assert own[0].event == "anomaly.opened" and "bearing" in own[0].message
    assert {event.event for event in own[1:]} <= {"anomaly.escalated"}


def send(plant: OnlinePlant, tenant: str, values, start: int, step: int = TEN_MINUTES):
    """Send rows of the pump from a time on, in one delivery."""
    service = EquipmentService(plant.database, tenant, {"pump-1": ["pump-1"]}, lambda key: plant.served)
    times = [start + number * step for number in range(len(values))]
    return service.ingest(TelemetryRows(["pump-1"] * len(values), times, to_rows(values)))


@pytest.mark.parametrize(("tenant", "healthy", "episodes"), [("apart", 90, 2), ("through", 0, 1)])
def test_a_fault_after_a_long_standstill_is_a_new_one_if_the_asset_ran_well_before(
    plant, tenant, healthy, episodes
):
    values = make_pump(2_000, seed=5)
    running = values[values[:, 0] > 5]
    faulty = running[100:140].copy()
    faulty[:, 5] += 6
    standstill = np.repeat(values[:1], 150, axis=0)
    start = to_microseconds(utc_now()) - 1_000 * TEN_MINUTES
    first = np.vstack([running[:100], faulty, running[140 : 140 + healthy], standstill])
    send(plant, tenant, first, start)
    send(plant, tenant, faulty, start + len(first) * TEN_MINUTES)
    rows, _ = AssetAnomalies(plant.database).page(tenant)
    assert len([row for row in rows if row["alarms"] > 10]) == episodes


def test_rows_that_are_sent_again_are_judged_once(plant):
    values = make_pump(500, seed=5)[100:300]
    values[100:140, 5] += 6
    start = to_microseconds(utc_now()) - 1_000 * TEN_MINUTES
    first = send(plant, "twice", values, start)
    assert first.anomaly_count and first.warnings == []
    store = AssetAnomalies(plant.database)
    before, _ = store.page("twice")
    again = send(plant, "twice", values, start)
    assert again.anomaly_count == 0
    assert again.warnings == [
        "Not judged again: 200 of 200 rows of pump-1 have the time of a row that was stored before"
    ]
    assert store.page("twice")[0] == before
    for row in before:
        store.update("twice", row["id"], {"resolved": True})
    send(plant, "twice", values[90:], start + 90 * TEN_MINUTES)
    assert len(store.page("twice")[0]) == len(before)


def test_a_version_that_could_not_be_read_is_read_again(tmp_path):
    with pytest.raises(FileNotFoundError):
        _read_device(tmp_path)
    (tmp_path / "manifest.json").write_text('{"facts": {"device_id": "pump-1"}}')
    assert _read_device(tmp_path) == "pump-1"


def test_a_resolved_episode_is_closed_and_suspected_until_a_verdict_says_otherwise(plant):
    deliver(plant, "verdicts", 400)
    store = AssetAnomalies(plant.database)
    before = store.suspected("verdicts", "pump-1")
    row_id = store.page("verdicts")[0][0]["id"]
    row = store.update("verdicts", row_id, {"resolved": True, "verdict": "false_alarm"})
    assert row["resolved_at"] is not None
    assert len(store.suspected("verdicts", "pump-1")) == len(before) - 1
    with plant.database.read() as connection:
        query = alarms.select().where(alarms.c.incident == f"asset-anomalies/{row_id}")
        assert connection.execute(query.order_by(alarms.c.id.desc())).first().event == "anomaly.closed"


def test_rows_that_a_model_cannot_judge_are_stored_with_a_warning(plant):
    def fail(key: ModelKey):
        raise NoChampion(f"{key} has no champion")

    for tenant, lookup in (("broken", fail), ("strange", lambda key: plant.served)):
        service = EquipmentService(plant.database, tenant, {"pump-1": ["pump-1"]}, lookup)
        result = service.ingest(TelemetryRows(["pump-1"], [to_microseconds(utc_now())], [{"oil": 1.0}]))
        (warning,) = result.warnings
        assert warning.startswith("Not judged by equipment/pump-1. ")
        assert len(Telemetry(plant.database).latest(tenant, "pump-1", 10)) == 1
