"""New readings are judged sensor by sensor and part by part: how many come changes nothing but the time."""

from types import SimpleNamespace

import numpy as np
import pytest

from errors import NoChampion
from prediction.sensors.anomaly import training
from prediction.sensors.intake import SensorsOptions
from prediction.sensors.serving import online_detection
from prediction.sensors.serving.online_detection import SensorService
from storage.db.database import Database
from storage.sensors.anomalies import Anomalies
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
from tests.prediction.sensors.anomaly.test_knn_cad import STEP_S, sensor

ALL = 1_000_000


class Counting:
    """A model that keeps how many readings it was asked for together."""

    def __init__(self, model):
        self.model, self.asked = model, []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def answers(self, values, *more):
        self.asked.append(len(values))
        return self.model.answers(values, *more)


@pytest.fixture
def database(tmp_path):
    made = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
    made.migrate()
    yield made
    made.close()


def plant(database, algorithm):
    """A watch over two sensors of which the first has a model."""
    known = sensor(1_500)
    model = training.train(known, SensorsOptions().load({"algorithm": algorithm}))
    ids = Sensors(database).create("default", [{"name": f"P-{n}", "type": "Flow"} for n in range(2)])
    times = (known.times * 1e6).astype(np.int64)
    Readings(database).ingest("default", ReadingBlock(np.full(1_500, ids[0]), times, known.values))
    counting = Counting(model)

    def champion(key):
        if key.name != f"{ids[0]}-anomaly":
            raise NoChampion("none")
        return SimpleNamespace(predictor=SimpleNamespace(model=counting), number=1, fallback_warning="")

    return SensorService(database, "default", champion), ids, counting


def arriving(ids, count=400):
    """A day's rhythm of the first sensor with faults in it, mixed with readings of the second."""
    times = ((1.7e9 + (1_500 + np.arange(count)) * STEP_S) * 1e6).astype(np.int64)
    values = 50 + 5 * np.sin(times / 1e6 / 86_400 * 2 * np.pi)
    values[[30, 200, 390]] += 40
    both = ReadingBlock(
        np.repeat(ids, count), np.tile(times, 2), np.concatenate([values, np.full(count, 1.0)])
    )
    return both.part(np.random.default_rng(3).permutation(2 * count))


def said(database, watching, ids, most=ALL):
    known = Sensors(database).many("default", ids)
    return watching.check_new_readings(known, arriving(ids), most)


@pytest.mark.parametrize("algorithm", ["isolation_forest", "knn_cad"])
def test_faults_are_found_in_however_many_parts(database, algorithm, monkeypatch):
    watching, ids, counting = plant(database, algorithm)
    monkeypatch.setattr(online_detection, "Detector", Counting)
    whole = said(database, watching, ids)
    monkeypatch.setattr(online_detection, "BATCH_SIZE", 50)
    counting.asked.clear()
    parts = said(database, watching, ids)
    assert max(counting.asked) <= 50
    faults = [[found["timestamp"] for found in some.told if found["beyond_range"]] for some in (whole, parts)]
    assert faults[0] == faults[1]
    assert len(faults[0]) == 3
    assert {found["sensor_id"] for found in parts.told} == {ids[0]}


def test_all_are_counted_and_recorded_and_some_are_told(database):
    watching, ids, _ = plant(database, "isolation_forest")
    found = said(database, watching, ids, most=1)
    assert (len(found.told), found.count) == (1, 3)
    rows, _ = Anomalies(database).page("default", [])
    assert sum(row["readings"] for row in rows) == 3


def test_nothing_is_asked_of_the_episodes_where_nothing_is_odd(database, monkeypatch):
    watching, ids, _ = plant(database, "isolation_forest")
    monkeypatch.setattr(SensorService, "record", lambda *told: pytest.fail("nothing was odd"))
    quiet = ReadingBlock(np.array(ids), np.full(2, 1_720_000_000_000_000), np.array([50.0, 1.0]))
    assert watching.check_new_readings(Sensors(database).many("default", ids), quiet, ALL).count == 0
