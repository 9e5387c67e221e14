"""Forecasting through the whole house: sessions with progress, cancel, resume, and answers."""

from __future__ import annotations

import io
import json

import pytest

from errors import InvalidContent, NotFound
from prediction.contract import ModelKey
from settings import Settings
from storage.datasets.store import DatasetStore
from tests.prediction.forecasting.conftest import hourly_csv
from tests.prediction.killed_trainings import (
    child_at_work,
    epochs_of,
    has_gone,
    killed_in_its_epochs,
    wait_for_epochs,
)
from training_manager import open_manager

KEY = ModelKey("forecasting", "transformer-1")
SMALL = {
    "target_columns": ["oil"],
    "window_size": 24,
    "future_steps": 6,
    "hidden_size": 8,
    "architecture": "NLinear",
}
LONG = {"architecture": "BiLSTM", "hidden_size": 32, "epochs": 500, "early_stopping_patience": 0}

IN_THIS_PROCESS = pytest.mark.parametrize("executor", ["in-process"])


@pytest.fixture
def executor() -> str:
    return "local"


@pytest.fixture
def manager(tmp_path, executor):
    made = open_manager(Settings(home=tmp_path, sentence_model="none", executor=executor))
    yield made
    made.close()


@pytest.fixture
def dataset(tmp_path) -> str:
    store = DatasetStore(tmp_path / "data" / "datasets")
    return store.receive(io.BytesIO(hourly_csv().encode()), "plant.csv").id


@IN_THIS_PROCESS
def test_a_dataset_becomes_a_champion_that_forecasts(manager, dataset):
    told = manager.train(KEY, None, {"dataset": dataset, **SMALL, "epochs": 3}).session
    assert (told.state, told.promoted) == ("completed", True), told.error
    assert told.metrics["metrics"].keys() >= {"mse", "oil.mae_units", "coverage_0.9"}
    header, *lines = hourly_csv().splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines[-30:]]
    (answer,) = manager.model_cache.current(KEY).predictor.predict([{"rows": rows}], {})
    assert len(answer["targets"]["oil"]["values"]) == 6
    assert manager.downloads.file(KEY, None, "forecast.png").read_bytes()[:4] == b"\x89PNG"


@IN_THIS_PROCESS
def test_progress_is_told_epoch_by_epoch(manager, dataset):
    session = manager.train(KEY, None, {"dataset": dataset, **SMALL, **LONG, "epochs": 3}).session
    events = epochs_of(manager, session.id)
    assert events
    assert events[0].keys() >= {"epoch", "of", "train_loss", "val_loss", "progress_pct", "eta_seconds"}
    percentages = [event["progress_pct"] for event in events]
    assert percentages == sorted(percentages)


@IN_THIS_PROCESS
def test_a_better_second_training_replaces_the_champion_and_a_worse_one_does_not(manager, dataset):
    def trained(**options):
        return manager.train(KEY, None, {"dataset": dataset, **SMALL, **options}).session

    assert trained(epochs=3).promoted
    assert trained(epochs=20, learning_rate=0.005).promoted
    worse = trained(epochs=1, learning_rate=1e-6)
    assert (worse.state, worse.promoted) == ("rejected", False)
    assert "worse" in " ".join(worse.reasons)
    assert manager.storage.versions.pointer(KEY.path) == 2


def test_what_cannot_be_trained_is_refused_before_there_is_a_session(manager, dataset):
    with pytest.raises(NotFound):
        manager.train(KEY, None, {"dataset": "ds-000000000000", **SMALL})
    with pytest.raises(InvalidContent, match="pressure"):
        manager.train(KEY, None, {"dataset": dataset, **SMALL, "target_columns": ["pressure"]})
    assert manager.sessions.list("default") == []


def test_a_cancelled_training_frees_the_processor(manager, dataset, tmp_path):
    session = manager.train(KEY, None, {"dataset": dataset, **SMALL, **LONG}, wait=False).session
    wait_for_epochs(manager, session.id)
    child = child_at_work(tmp_path)
    assert manager.cancel(session.id, "default").state == "cancelled"
    assert has_gone(child)
    assert manager.storage.versions.pointer(KEY.path) is None


def test_a_killed_training_is_resumed_by_retry_from_its_last_epoch(manager, dataset, tmp_path):
    options = {"dataset": dataset, **SMALL, **LONG, "epochs": 12}
    killed = killed_in_its_epochs(manager, KEY, options, tmp_path)

    again = manager.retry(killed, "default").session
    assert again.state == "completed", again.error
    assert epochs_of(manager, again.id)[0]["epoch"] > 1
    resumed = json.loads(manager.downloads.file(KEY, None, "training_history.json").read_text())
    assert [entry["epoch"] for entry in resumed["epochs"]] == list(range(1, 13))

    whole = manager.train(ModelKey("forecasting", "uninterrupted"), None, options).session
    assert whole.state == "completed"
    other = ModelKey("forecasting", "uninterrupted")
    one, two = (manager.downloads.file(key, None, "model.safetensors").read_bytes() for key in (KEY, other))
    assert one == two
