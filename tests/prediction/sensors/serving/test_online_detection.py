"""New readings are checked sensor by sensor and batch by batch; the number of batches changes no result."""

from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa

from errors import NoChampion, StorageFailed
from prediction.sensors import anomaly
from prediction.sensors.anomaly import Detector
from prediction.sensors.options import SensorTrainingOptions
from prediction.sensors.serving import online_detection
from prediction.sensors.serving.online_detection import SensorService
from prediction.sensors.serving.predictor import SensorsPredictor
from storage.db.database import Database
from storage.db.kept_predictions import decode, encode_exactly
from storage.sensors.anomalies import Anomalies
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
from tests.prediction.sensors.anomaly.test_knn_cad import STEP_S, sensor

ALL = 1_000_000


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
    database.migrate()
    yield database
    database.close()


def create_service(database, algorithm):
    """Return a service for two sensors of which the first has a model."""
    history = sensor(1_500)
    model = anomaly.train(history, SensorTrainingOptions(algorithm=algorithm))
    ids = Sensors(database).create("default", [{"name": f"P-{n}", "type": "Flow"} for n in range(2)])
    times = (history.times * 1e6).astype(np.int64)
    Readings(database).ingest("default", ReadingBlock(np.full(1_500, ids[0]), times, history.values))

    def champion(key):
        if key.name != f"{ids[0]}-anomaly":
            raise NoChampion("none")
        return SimpleNamespace(predictor=SensorsPredictor(model), number=1, warnings=[])

    return SensorService(database, "default", champion), ids


def new_readings(ids, count=400):
    """Return a daily rhythm of the first sensor with three faults in it, mixed with readings of the second."""
    times = ((1.7e9 + (1_500 + np.arange(count)) * STEP_S) * 1e6).astype(np.int64)
    values = 50 + 5 * np.sin(times / 1e6 / 86_400 * 2 * np.pi)
    values[[30, 200, 390]] += 40
    both = ReadingBlock(
        np.repeat(ids, count), np.tile(times, 2), np.concatenate([values, np.full(count, 1.0)])
    )
    return both.select(np.random.default_rng(3).permutation(2 * count))


def ingest(database, service, ids, max_listed=ALL):
    sensors = Sensors(database).get_many("default", ids)
    return service.ingest(sensors, new_readings(ids), max_listed)


@pytest.mark.parametrize("algorithm", ["isolation_forest", "knn_cad"])
def test_faults_are_found_in_any_number_of_batches(tmp_path, algorithm, monkeypatch):
    sizes, detect = [], Detector.detect

    def count(self, values, *rest):
        sizes.append(len(values))
        return detect(self, values, *rest)

    monkeypatch.setattr(Detector, "detect", count)
    faults = []
    for batch_size in (10_000, 50):
        database = Database(f"sqlite:///{tmp_path / f'{batch_size}.db'}", tmp_path / "run")
        database.migrate()
        monkeypatch.setattr(online_detection, "BATCH_SIZE", batch_size)
        sizes.clear()
        service, ids = create_service(database, algorithm)
        listed = ingest(database, service, ids).listed
        assert max(sizes) <= batch_size
        assert {row["sensor_id"] for row in listed} == {ids[0]}
        faults.append([row["timestamp"] for row in listed if row["beyond_range"]])
        database.close()
    assert faults[0] == faults[1]
    assert len(faults[0]) == 3


@pytest.mark.parametrize("algorithm", ["isolation_forest", "knn_cad", "composite"])
def test_a_detection_is_made_again_bit_for_bit_from_what_was_kept(database, algorithm):
    service, ids = create_service(database, algorithm)
    kept = []
    asked = SensorService(database, "default", service._champion, lambda *given: kept.append(given) or {})
    block = new_readings(ids)
    chosen = block.select(np.flatnonzero(block.sensors == ids[0]))
    chosen = chosen.select(np.argsort(chosen.times))
    row = Sensors(database).get_many("default", ids)[ids[0]]
    detections = asked.detect(row, chosen.values, chosen.times)
    ((served, inputs, options, answers),) = kept
    question = decode(encode_exactly({"inputs": inputs, "options": options}))
    again = served.predictor.predict(question["inputs"], question["options"])
    assert encode_exactly(again) == encode_exactly(answers)
    assert any(detection["is_anomaly"] for detection in detections)
    assert "model_version" not in answers[0], "what is kept does not change with the answer"


def test_all_are_counted_and_stored_and_some_are_listed(database):
    service, ids = create_service(database, "isolation_forest")
    found = ingest(database, service, ids, max_listed=1)
    assert (len(found.listed), found.count) == (1, 3)
    rows, _ = Anomalies(database).page("default", [])
    assert sum(row["readings"] for row in rows) == 3
    assert found.listed[0]["anomaly_id"] == rows[0]["id"]


def test_anomalies_are_stored_with_their_readings_or_not_at_all(database, monkeypatch):
    service, ids = create_service(database, "isolation_forest")

    def fail(*_, **__):
        raise StorageFailed("The disk has gone")

    before = Readings(database).count("default")
    with monkeypatch.context() as patched:
        patched.setattr(Anomalies, "record", fail)
        with pytest.raises(StorageFailed):
            ingest(database, service, ids)
    with monkeypatch.context() as patched:
        patched.setattr("storage.sensors.readings.insert", fail)
        for _ in range(3):
            with pytest.raises(StorageFailed):
                ingest(database, service, ids)
    assert Anomalies(database).count("default") == 0
    assert Readings(database).count("default") == before


def test_a_block_without_anomalies_leaves_the_episodes_alone(database, monkeypatch):
    service, ids = create_service(database, "isolation_forest")
    monkeypatch.setattr(Anomalies, "record", lambda *_, **__: pytest.fail("there are no anomalies"))
    quiet = ReadingBlock(np.array(ids), np.full(2, 1_720_000_000_000_000), np.array([50.0, 1.0]))
    assert service.ingest(Sensors(database).get_many("default", ids), quiet, ALL).count == 0


def test_an_ordinary_reading_needs_no_query_and_an_anomaly_gets_its_type_from_the_readings_before(database):
    service, ids = create_service(database, "isolation_forest")
    row = Sensors(database).get_many("default", ids)[ids[0]]
    queries = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *event: queries.append(event[2]))
    time = np.array([1_720_000_000_000_000])
    (ordinary,) = service.detect(row, np.array([50.0]), time, record=True)
    assert (ordinary["is_anomaly"], queries) == (False, [])
    (spike,) = service.detect(row, np.array([90.0]), time)
    assert (spike["is_anomaly"], spike["type"]) == (True, "Spike")
    # The readings before it, and what a person's verdict has released.
    assert len([query for query in queries if query.startswith("SELECT")]) == 2
    (stored,) = service.detect(row, np.array([90.0]), time, record=True)
    assert Anomalies(database).get("default", stored["anomaly_id"])["readings"] == 1
