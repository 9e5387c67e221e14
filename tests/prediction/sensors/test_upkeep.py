"""What counts as a model that has become worse: many false alarms do, one lasting fault does not."""

import numpy as np
import pytest

from prediction.sensors import anomaly, upkeep
from prediction.sensors.series import Series
from prediction.sensors.upkeep import degraded
from storage.database import Database
from storage.sensors.bulk import Block
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
from tests.prediction.sensors.test_anomaly import OPTIONS, sensor


@pytest.fixture
def asked():
    """What is said of a model after these new readings."""
    trained = anomaly.train(sensor(), OPTIONS)

    def say(values):
        times = 1.8e9 + 900.0 * np.arange(len(values))
        return degraded(trained, {}, Series(np.arange(len(values)), times, np.asarray(values)))

    return say


def test_a_lasting_fault_is_one_alarm_and_no_reason_to_train(asked):
    assert asked(np.concatenate([np.full(200, 50.0), np.full(400, 90.0)])) is None


def test_alarm_after_alarm_is_a_reason_to_train(asked):
    values = np.full(600, 50.0)
    values[::50] = 90.0
    assert "alarms in 600 new readings" in asked(values)


def test_no_more_new_readings_are_looked_at_than_a_training_would(monkeypatch, tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
    database.migrate()
    (number,) = Sensors(database).create("default", [{"name": "P-1", "type": "Pressure"}])
    moments = np.arange(1, 11) * 1_000_000
    Readings(database).ingest("default", Block(np.full(10, number), moments, np.arange(10.0)))
    monkeypatch.setattr(upkeep, "MOST_READINGS", 4)
    found = upkeep._since({"facts": {"sensor_id": number, "last_time": 3.0}}, database)
    assert found.values.tolist() == [6.0, 7.0, 8.0, 9.0]
    database.close()
