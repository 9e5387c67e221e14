"""What counts as a model that has become worse: many false alarms do, one lasting fault does not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from errors import ArtefactCorrupt
from prediction.sensors import anomaly, monitoring
from prediction.sensors.monitoring import SensorsMonitor, find_degradation
from prediction.sensors.readings.series import SensorSeries
from storage.db.database import Database
from storage.models.versions import VersionStore
from storage.sensors.calibrations import Calibrations
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
from tests.prediction.sensors.anomaly.test_detector_training import OPTIONS, sensor


@pytest.fixture
def evaluate():
    """Return what is said of a model after these new readings."""
    trained = anomaly.train(sensor(), OPTIONS)

    def say(values):
        times = 1.8e9 + 900.0 * np.arange(len(values))
        return find_degradation(trained, {}, SensorSeries(np.arange(len(values)), times, np.asarray(values)))

    return say


def test_a_lasting_fault_is_one_alarm_and_no_reason_to_train(evaluate):
    assert evaluate(np.concatenate([np.full(200, 50.0), np.full(400, 90.0)])) is None


def test_alarm_after_alarm_is_a_reason_to_train(evaluate):
    values = sensor(600).values
    values[::50] = 90.0
    assert "alarms in 600 new readings" in evaluate(values)


def test_no_more_new_readings_are_looked_at_than_a_training_would(monkeypatch, tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
    database.migrate()
    (number,) = Sensors(database).create("default", [{"name": "P-1", "type": "Pressure"}])
    moments = np.arange(1, 11) * 1_000_000
    Readings(database).ingest("default", ReadingBlock(np.full(10, number), moments, np.arange(10.0)))
    monkeypatch.setattr(monitoring, "MAX_READINGS", 4)
    found = monitoring._read_new_readings({"facts": {"sensor_id": number, "last_time": 3.0}}, database)
    assert found.values.tolist() == [6.0, 7.0, 8.0, 9.0]
    database.close()


@pytest.fixture
def plant(tmp_path):
    """Return an monitor over an empty plant; no champion can be loaded."""
    database = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
    database.migrate()

    def load(key):
        raise ArtefactCorrupt(f"{key} was loaded")

    yield SensorsMonitor(database, VersionStore(tmp_path / "models"), "default", load)
    database.close()


def register(plant, sensors, readings):
    made = [{"name": f"P-{n}", "type": "Pressure"} for n in range(sensors)]
    ids = Sensors(plant.database).create("default", made)
    moments = np.arange(readings) * 1_000_000
    for number in ids:
        Readings(plant.database).ingest(
            "default", ReadingBlock(np.full(readings, number), moments, moments * 1.0)
        )
    return ids


def publish(plant, name, created, last_time):
    """Return a champion whose manifest says this."""
    path, facts = f"default/sensors/{name}", {"kind": name.split("-")[1], "last_time": last_time}
    staged = plant.versions.staging(path, 1)
    plant.versions.write_manifest(staged, {"version": 1, "created_at": created.isoformat(), "facts": facts})
    staged.rename(plant.versions.folder(path, 1))
    plant.versions.set_champion(path, 1)
    plant.index.refresh([path])


def test_what_is_missing_and_what_is_lacking_is_told_for_every_sensor(plant):
    (few,) = register(plant, 1, 12)
    (none,) = register(plant, 1, 0)
    found = plant.plan()
    assert found.models == {f"{few}-anomaly": "missing"}
    assert found.insufficient_data == {
        f"{few}-drift": "Not enough data: 12 readings, at least 20 needed",
        f"{few}-calibration": "Not enough data: 0 calibrations, at least 5 needed",
        f"{none}-anomaly": "Not enough data: 0 readings, at least 10 needed",
        f"{none}-drift": "Not enough data: 0 readings, at least 20 needed",
        f"{none}-calibration": "Not enough data: 0 calibrations, at least 5 needed",
    }


def test_calibrations_need_readings_before_three_of_them(plant):
    (number,) = register(plant, 1, 3)
    store = Calibrations(plant.database)
    row = {"sensor_id": number, "method": "linear", "params": {}, "corrected_value": 1.0, "source": "manual"}
    first = datetime.fromtimestamp(0, UTC)
    store.insert("default", [{**row, "applied_at": first + timedelta(seconds=n)} for n in (0, 1, 1, 5, 6)])
    lacks = "Not enough data: fewer than 3 calibrations with 3 readings before them"
    assert plant.plan().insufficient_data[f"{number}-calibration"] == lacks
    store.insert("default", [{**row, "applied_at": first + timedelta(seconds=2)}])
    assert plant.plan().models[f"{number}-calibration"] == "missing"


def test_the_database_is_asked_as_often_for_many_sensors_as_for_one(plant):
    said = []
    sa.event.listen(plant.database.engine, "before_cursor_execute", lambda *told: said.append(told[2]))

    def evaluate():
        said.clear()
        plant.plan()
        return sum(statement.startswith("SELECT") for statement in said)

    register(plant, 1, 0)
    once = evaluate()
    register(plant, 40, 0)
    assert 0 < evaluate() == once


def test_a_model_is_loaded_only_where_enough_readings_have_come_since(plant):
    (number,) = register(plant, 1, 60)
    fresh = datetime.now(UTC)
    publish(plant, f"{number}-anomaly", fresh, last_time=9.0)
    publish(plant, f"{number}-drift", fresh, last_time=10.0)
    assert plant.plan().models == {f"{number}-anomaly": f"sensors/{number}-anomaly was loaded"}
    (other,) = register(plant, 1, 60)
    publish(plant, f"{other}-drift", fresh - timedelta(days=8), last_time=100.0)
    assert plant.plan().models[f"{other}-drift"] == "8 days old"
