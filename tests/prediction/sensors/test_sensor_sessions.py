"""The three models of a sensor go through the whole house: session, gate, versions, serving, download."""

from datetime import timedelta

import joblib
import numpy as np
import pytest

from errors import NotFound
from prediction.contract import ModelKey, Resources
from prediction.sensors.readings.prediction_input import PredictionInput
from prediction.sensors.serving.predictor import SensorsPredictor
from prediction.serving import ModelCache
from settings import Settings
from storage.container import open_storage
from storage.db.tables import utc_now
from storage.sensors.anomalies import Anomalies, Episode
from storage.sensors.calibrations import Calibrations
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings, to_microseconds
from storage.sensors.sensors import Sensors
from training.execution.in_process import InProcessExecutor
from training_manager import TrainingManager

COUNT = 600


@pytest.fixture(scope="module")
def manager(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("home"), shutdown_grace_seconds=1)
    settings.run_dir.mkdir(parents=True)
    storage = open_storage(settings)
    storage.database.migrate()
    live = ModelCache(storage.versions, Resources(settings.cache_dir))
    made = TrainingManager(storage, InProcessExecutor(settings), live)
    made.recover()
    fill(storage.database)
    yield made
    made.close()


def fill(database):
    """Sensor 13 with six hundred readings and ten calibrations, sensor 14 with seven readings."""
    plant = [{"id": 13, "name": "Cooling Tank/Pressure", "type": "Pressure", "nominal_value": 50.0}]
    Sensors(database).insert_with_ids("default", [*plant, {"id": 14, "name": "Humidity", "type": "Humidity"}])
    start, random = utc_now() - timedelta(hours=COUNT), np.random.default_rng(1)
    values = 50 + np.arange(COUNT) * 0.01 + random.normal(0, 0.5, COUNT)
    times = to_microseconds(start) + np.arange(COUNT) * 3_600_000_000
    Readings(database).ingest("default", ReadingBlock(np.full(COUNT, 13), times, values))
    Readings(database).ingest("default", ReadingBlock(np.full(7, 14), times[:7], values[:7]))
    rows = [
        {
            "sensor_id": 13,
            "method": "linear",
            "params": {},
            "corrected_value": float(values[at - 3 : at].mean() * 1.02),
            "applied_at": start + timedelta(hours=at - 1, minutes=30),
            "source": "manual",
        }
        for at in range(20, COUNT, 60)
    ]
    Calibrations(database).insert("default", rows)


def train(manager, kind, sensor=13, **options):
    return manager.train(ModelKey("sensors", f"{sensor}-{kind}"), None, options).session


@pytest.mark.parametrize("kind", ["anomaly", "drift", "calibration"])
def test_a_model_is_trained_judged_promoted_and_answers(manager, kind):
    session = train(manager, kind)
    assert (session.state, session.promoted) == ("completed", True), session.message
    assert session.metrics["parity_deviation"] == 0
    live = manager.model_cache.current(ModelKey("sensors", f"13-{kind}"))
    asked: PredictionInput = {
        "value": 55.0,
        "time": utc_now().timestamp(),
        "recent": [54.0] * 5,
        "future_points": 4,
    }
    answer = live.predictor.predict([asked], {})[0]
    assert answer["model_used"] in {"composite", "linear_regression"}
    again = train(manager, kind)
    assert again.state in {"completed", "rejected"}
    assert again.version == session.version + 1


def test_equal_data_and_options_give_the_same_files(manager):
    one, two = train(manager, "anomaly"), train(manager, "anomaly")
    key = ModelKey("sensors", "13-anomaly")
    files = [manager.storage.versions.get(key.path, s.version).manifest["files"] for s in (one, two)]
    assert files[0] == files[1]


def test_too_little_data_is_said_with_the_minimum(manager):
    session = train(manager, "anomaly", sensor=14)
    assert session.state == "failed"
    assert session.message == "Not enough data: 7 readings, at least 10 needed"
    assert "0 calibrations, at least 5 needed" in train(manager, "calibration", sensor=14).message


def test_a_sensor_that_does_not_exist_has_no_models(manager):
    for name in ("99-anomaly", "default", "13-mood", "013-drift", "x"):
        with pytest.raises(NotFound):
            manager.train(ModelKey("sensors", name), None, {})
    with pytest.raises(NotFound):
        manager.train(ModelKey("sensors", "13-anomaly", "other"), None, {})


@pytest.mark.parametrize("kind", ["anomaly", "drift", "calibration"])
def test_the_download_is_a_scikit_learn_model(manager, kind):
    session = train(manager, kind)
    name = f"{kind}_model_Cooling_Tank_Pressure_13.joblib"
    path = manager.downloads.file(ModelKey("sensors", f"13-{kind}"), session.version, name)
    model = joblib.load(path)
    columns = {"anomaly": 3, "drift": 4, "calibration": 1}[kind]
    assert len(model.predict(np.zeros((2, columns)))) == 2
    with pytest.raises(NotFound):
        manager.downloads.file(ModelKey("sensors", f"13-{kind}"), session.version, "anything.txt")


def test_a_lasting_fault_is_left_out_until_a_person_calls_it_normal(manager):
    """It is found, kept out of training, and learnt only after the verdict."""
    database = manager.storage.database
    start = utc_now() - timedelta(hours=12)
    times = to_microseconds(start) + np.arange(12) * 3_600_000_000
    episodes = [
        Episode("Calibration Error", "High", 90.0, 55.0, 35.0, time, time, "model")
        for time in (start + timedelta(hours=hour) for hour in range(12))
    ]
    Readings(database).ingest("default", ReadingBlock(np.full(12, 13), times, np.full(12, 90.0)))
    with database.write() as connection:
        recorded = Anomalies(database).record(connection, "default", 13, episodes, timedelta(hours=4))
    ids = set(recorded)
    assert len(ids) == 1
    key = ModelKey("sensors", "13-anomaly")

    def alarms():
        assert train(manager, "anomaly").promoted
        manager.model_cache.reload(key)
        asked = {"value": 90.0, "time": utc_now().timestamp(), "recent": [], "future_points": 1}
        return manager.model_cache.current(key).predictor.predict([asked], {})[0]["is_anomaly"]

    assert alarms()
    left_out = manager.model_cache.current(key).manifest["facts"]["left_out"]
    assert left_out >= 11
    Anomalies(database).update("default", ids.pop(), {"resolved": True, "verdict": "new_normal"})
    assert train(manager, "anomaly").version
    version = manager.storage.versions.list(key.path)[-1]
    assert version.manifest["facts"]["left_out"] == 0


def test_a_fleet_is_one_session_one_backup_and_an_item_a_model(manager):
    names = [f"{sensor}-{kind}" for sensor in (13, 14) for kind in ("anomaly", "drift", "calibration")]
    backups = len(manager.storage.backups.list())
    before = manager.storage.versions.pointer("default/sensors/13-anomaly") or 0
    session = manager.train_batch("sensors", "default", [*names, "99-drift"]).session
    assert session.state == "completed", session.message
    items = {item["name"]: item for item in session.details["items"]}
    failed = {name: item["error"] for name, item in items.items() if item["state"] == "failed"}
    assert set(failed) == {"14-anomaly", "14-drift", "14-calibration", "99-drift"}, failed
    assert "at least 10 needed" in items["14-anomaly"]["error"]
    assert "no sensor 99" in items["99-drift"]["error"]
    assert items["13-anomaly"]["version"] > before
    assert items["13-anomaly"]["metrics"]["parity_deviation"] == 0
    assert len(manager.storage.backups.list()) == backups + 1
    assert manager.model_cache.current(ModelKey("sensors", "13-drift")).predictor
    models = manager.storage.settings.models_dir / "default" / "sensors"
    assert not list(models.glob("*/.*"))
    assert not (models / "99-drift").exists()


def test_a_fleet_in_which_nothing_trains_has_failed_and_says_why(manager):
    session = manager.train_batch("sensors", "default", ["14-anomaly"]).session
    assert session.state == "failed"
    assert "7 readings, at least 10 needed" in session.message


def test_a_model_that_is_being_trained_is_left_out_of_the_fleet(manager):
    from storage.filesystem.locks import training_lock

    lock = training_lock(manager.storage.settings.run_dir, "default/sensors/13-drift")
    with lock:
        session = manager.train_batch("sensors", "default", ["13-drift", "13-anomaly"]).session
    items = {item["name"]: item for item in session.details["items"]}
    assert "already in progress" in items["13-drift"]["error"]
    assert items["13-anomaly"]["state"] in {"completed", "rejected"}


def test_the_other_detector_goes_the_same_way_and_its_download_is_what_scikit_learn_has_of_it(manager):
    session = train(manager, "anomaly", algorithm="knn_cad")
    assert session.state in {"completed", "rejected"}, session.message
    key = ModelKey("sensors", "13-anomaly")
    name = "anomaly_model_Cooling_Tank_Pressure_13.joblib"
    model = joblib.load(manager.downloads.file(key, session.version, name))
    assert model.kneighbors(np.zeros((1, model.n_features_in_)))[0].shape == (1, model.n_neighbors)
    folder = manager.storage.versions.folder(key.path, session.version)
    asked: PredictionInput = {
        "value": 55.0,
        "time": utc_now().timestamp(),
        "recent": [54.0],
        "future_points": 1,
    }
    answer = SensorsPredictor.load(folder, manager.model_cache.resources).predict([asked], {})[0]
    assert answer["model_used"] == "knn_cad"
