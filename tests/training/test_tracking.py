"""What MLflow is told: by a process of its own, to a real store, and never at a session's cost."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from errors import ConfigurationError
from prediction.contract import ModelKey
from settings import Settings, read_settings
from storage.container import open_storage
from tests import toy_family
from tests.training.conftest import make_manager
from tests.waiting import eventually
from training.tracking import mlmodel, outbox, uploader
from training.tracking.outbox import MlflowTracking, NoTracking, open_tracking, store_uri


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a server: MLflow is installed."""
    monkeypatch.setattr(outbox, "is_installed", lambda: True)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tables of a local store: making them takes a second, so tests copy them."""
    from mlflow.tracking import MlflowClient

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(tmp_path: Path, empty_database: Path):
    """Return the notes of one home, and the MLflow client of its local store."""
    from mlflow.tracking import MlflowClient

    settings = Settings(home=tmp_path, sentence_model="none")
    uri = store_uri(settings)
    (tmp_path / "data" / "tracking").mkdir(parents=True)
    shutil.copy(empty_database, tmp_path / "data" / "tracking")
    return MlflowTracking(open_storage(settings)), MlflowClient(uri, uri)


def carried(notes: MlflowTracking) -> bool:
    """Carry the notes over in this process."""
    return uploader.upload_all(store_uri(notes._storage.settings), notes.folder)


def ended_session(notes: MlflowTracking, state: str = "failed", **columns):
    """Return a session without a version that has ended."""
    sessions = notes._storage.sessions
    made = sessions.create(tenant="default", family="toy", name="default", kind="train", **columns)
    sessions.finish(made.id, state, message="no luck")
    return sessions.get(made.id)


def runs(client):
    return [run for e in client.search_experiments() for run in client.search_runs([e.experiment_id])]


def test_a_session_is_carried_over_by_a_process_that_outlives_the_command(
    tracked, settings, executor, monkeypatch
):
    monkeypatch.setattr(outbox, "NICENESS", 0)
    manager = make_manager(settings, executor)
    session = manager.train(ModelKey("toy"), toy_family.records(5, 100)).session
    manager.close()
    waiting = settings.data_dir / "tracking" / "waiting"
    eventually(lambda: not any(waiting.glob("*.json")))

    from mlflow.tracking import MlflowClient

    client = MlflowClient(store_uri(settings), store_uri(settings))
    (run,) = runs(client)
    assert run.data.tags["millwright.session"] == str(session.id)
    assert run.info.status == "FINISHED"
    (version,) = client.search_model_versions("name = 'default.toy.default'")
    assert version.tags == {"millwright.version": "1", "millwright.promoted": "true"}


def test_nothing_is_tracked_where_it_is_off_or_mlflow_is_missing(tracked, tmp_path, monkeypatch):
    storage = open_storage(Settings(home=tmp_path))
    assert type(open_tracking(storage)) is MlflowTracking
    off = replace(storage, settings=replace(storage.settings, tracking_uri="none"))
    assert type(open_tracking(off)) is NoTracking
    monkeypatch.setattr(outbox, "is_installed", lambda: False)
    assert type(open_tracking(storage)) is NoTracking


def test_mlflow_loads_the_network_of_a_version_and_predicts(store, monkeypatch):
    import mlflow
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    notes, client = store
    folder = notes._storage.versions.folder("default/toy/default", 1)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3, 2]) for n in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Exp", ["input"], ["output"])], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), folder / "model.onnx")
    session = replace(ended_session(notes, "completed"), version=1, promoted=True)
    notes.record_session(session)
    assert carried(notes)

    uri = store_uri(notes._storage.settings)
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", uri)
    monkeypatch.setattr("mlflow.tracking._model_registry.utils._registry_uri", uri)
    windows = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 3, 2)
    (run,) = runs(client)
    for address in (f"runs:/{run.info.run_id}/version", "models:/default.toy.default/1"):
        loaded = mlflow.pyfunc.load_model(address)
        assert loaded.metadata.get_input_schema().inputs[0].shape == (-1, 3, 2)
        np.testing.assert_allclose(loaded.predict(windows)["output"], np.exp(windows), rtol=1e-6)
        with pytest.raises(mlflow.exceptions.MlflowException):
            loaded.predict(windows[:, :2])


def test_names_and_parameters_come_from_the_options(store):
    notes, client = store
    notes.record_session(
        ended_session(notes, options={"experiment_name": "pumps", "run_name": "night", "epochs": 3, "a": [1]})
    )
    assert carried(notes)
    experiment = client.get_experiment_by_name("pumps")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "night"
    assert run.data.params["epochs"] == "3" and run.data.params["a"] == "[1]"


def test_a_failed_session_is_a_failed_run_and_a_cancelled_one_was_killed(store):
    notes, client = store
    for state in ("failed", "cancelled", "interrupted"):
        notes.record_session(ended_session(notes, state))
    assert carried(notes)
    assert sorted(run.info.status for run in runs(client)) == ["FAILED", "KILLED", "KILLED"]


def test_another_tenants_experiments_have_names_of_their_own(store):
    notes, client = store
    notes.record_session(replace(ended_session(notes, options={"experiment_name": "pumps"}), tenant="north"))
    assert carried(notes)
    assert client.get_experiment_by_name("pumps") is None
    assert client.get_experiment_by_name("north/pumps") is not None


def test_a_moved_homes_artefacts_are_written_to_the_new_place(store, tmp_path, monkeypatch):
    notes, client = store
    notes.record_session(ended_session(notes))
    assert carried(notes)
    (old,) = runs(client)
    database = tmp_path / "data" / "tracking" / "mlflow.db"
    moved = tmp_path / "moved"
    (moved / "data" / "tracking").mkdir(parents=True)
    shutil.copy(database, moved / "data" / "tracking")
    settings = Settings(home=moved, sentence_model="none")
    again = MlflowTracking(open_storage(settings))
    again.record_session(ended_session(again))
    assert carried(again)
    from mlflow.tracking import MlflowClient

    uri = store_uri(settings)
    (_, experiment) = sorted(MlflowClient(uri, uri).search_experiments(), key=lambda e: e.experiment_id)
    locations = [
        experiment.artifact_location,
        *(run.info.artifact_uri for run in runs(MlflowClient(uri, uri))),
    ]
    assert len(locations) >= 2
    assert all(f"{moved.as_uri()}/" in location for location in locations)
    assert client.get_run(old.info.run_id).info.artifact_uri == old.info.artifact_uri


def test_production_performance_is_one_run_a_model_with_a_step_for_each_measurement(store, monkeypatch):
    notes, client = store
    started: list[Any] = []
    monkeypatch.setattr(outbox, "start_uploader", started.append)
    for error in (4.0, 3.0):
        notes.record_performance(
            ModelKey("rul", "pumps"), {"mae": error, "n": 12, "note": "text", "none": None}
        )
    assert started == [] and carried(notes)
    (run,) = runs(client)
    history = client.get_metric_history(run.info.run_id, "production_performance.mae")
    assert sorted(metric.value for metric in history) == [3.0, 4.0]
    assert "production_performance.note" not in run.data.metrics


def test_a_note_that_was_half_carried_over_makes_no_second_run(store, monkeypatch):
    from training.tracking.mlflow_store import MlflowStore

    notes, client = store
    notes.record_session(ended_session(notes))
    with monkeypatch.context() as broken:
        broken.setattr(MlflowStore, "_log", lambda *_: 1 / 0)
        assert not carried(notes)
    assert len(list(notes.waiting.iterdir())) == 1
    assert carried(notes)
    assert [run.info.status for run in runs(client)] == ["FAILED"]


def test_a_store_that_is_away_leaves_the_notes_and_is_told_in_the_log(store, capsys):
    notes, _ = store
    notes.record_session(ended_session(notes))
    assert not uploader.upload_all("sqlite:////dev/null/mlflow.db", notes.folder)
    assert "tracking_failed" in capsys.readouterr().out
    assert len(list(notes.waiting.iterdir())) == 1


def test_a_note_that_can_never_be_carried_over_is_dropped_after_a_month(store):
    notes, _ = store
    notes.waiting.mkdir(parents=True)
    broken = notes.waiting / "0.json"
    broken.write_text("{")
    assert not carried(notes) and broken.exists()
    os.utime(broken, (0, 0))
    assert carried(notes) and not broken.exists()


def test_a_session_does_not_fail_where_no_note_can_be_written(store):
    notes, _ = store
    notes.folder.mkdir(parents=True, exist_ok=True)
    notes.waiting.write_text("a file, no folder")
    with capture_logs() as logs:
        notes.record_session(ended_session(notes))
    assert [entry["event"] for entry in logs if "track" in entry["event"]] == ["not_tracked"]
    assert notes.waiting.read_text() == "a file, no folder"


def test_a_network_of_any_type_keeps_no_version_from_being_tracked(tmp_path):
    from onnx import TensorProto, helper, save

    described = {}
    for kind in ("INT32", "STRING"):
        folder = tmp_path / kind
        folder.mkdir()
        x, y = (helper.make_tensor_value_info(name, getattr(TensorProto, kind), [None]) for name in "xy")
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "copy", [x], [y])
        opset = [helper.make_opsetid("", 17)]
        save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "network.onnx")
        described[kind] = mlmodel.describe_network(folder, "run", "2026-11-20 20:02:50.984345")
    assert '"dtype": "int32"' in str(described["INT32"])
    assert described["STRING"] is None


def test_one_tracker_runs_at_a_time(store, monkeypatch):
    notes, _ = store
    started: list[Any] = []
    monkeypatch.setattr(outbox, "start_uploader", started.append)
    notes.upload()
    assert not started, "there is nothing to carry"
    notes.record_session(ended_session(notes))
    with outbox.uploader_lock(notes._storage.settings.run_dir):
        notes.upload()
    assert not started
    notes.upload()
    assert json.dumps(started[0])


def test_a_secret_in_the_address_is_not_in_the_log(tmp_path, capsys):
    assert not uploader.upload_all("wrong://plant:secret@mlflow.example/x", tmp_path)
    output = "".join(capsys.readouterr())
    assert "mlflow.example/x" in output and "uri=wrong://mlflow.example/x" in output


@pytest.mark.parametrize("uri", ["file:///tmp/x", "ftp://x", "mlruns"])
def test_a_store_that_mlflow_does_not_take_is_refused_at_the_start(uri):
    with pytest.raises(ConfigurationError, match="TRACKING_URI"):
        read_settings({"MILLWRIGHT_TRACKING_URI": uri})
