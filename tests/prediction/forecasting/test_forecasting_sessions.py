"""Forecasting through the whole house: sessions with progress, cancel, resume, and answers."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from errors import InvalidContent, NotFound
from prediction.contract import ModelKey
from settings import Settings
from storage.datasets.store import DatasetStore
from tests.prediction.forecasting.conftest import hourly_csv
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


@pytest.fixture
def manager(tmp_path):
    made = open_manager(Settings(home=tmp_path, sentence_model="none"))
    yield made
    made.close()


@pytest.fixture
def dataset(tmp_path) -> str:
    store = DatasetStore(tmp_path / "data" / "datasets")
    return store.receive(io.BytesIO(hourly_csv().encode()), "plant.csv").id


def epochs_of(manager, session_id: int) -> list[dict]:
    return [event.data for event in manager.sessions.events(session_id) if event.event == "epoch"]


def wait_for_epochs(manager, session_id: int, count: int = 1) -> None:
    deadline = time.monotonic() + 240
    while len(epochs_of(manager, session_id)) < count:
        assert time.monotonic() < deadline, manager.sessions.get(session_id)
        assert not manager.sessions.get(session_id).has_ended, manager.sessions.get(session_id)
        time.sleep(0.05)


def child_at_work(home: Path) -> int:
    """The process of this home that has used the processor most: the one that trains."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(home) in (folder / "cmdline").read_text() and folder.name != str(os.getpid()):
                found.append(
                    (int((folder / "stat").read_text().rpartition(")")[2].split()[11]), int(folder.name))
                )
    return max(found)[1]


def has_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_dataset_becomes_a_champion_that_forecasts(manager, dataset):
    told = manager.train(KEY, None, {"dataset": dataset, **SMALL, "epochs": 3}).session
    assert (told.state, told.promoted) == ("completed", True), told.error
    assert told.metrics["metrics"].keys() >= {"mse", "oil.mae_units", "coverage_0.9"}
    header, *lines = hourly_csv().splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines[-30:]]
    (answer,) = manager.live.current(KEY).predictor.predict([{"rows": rows}], {})
    assert len(answer["targets"]["oil"]["values"]) == 6
    assert manager.downloads.file(KEY, None, "forecast.png").read_bytes()[:4] == b"\x89PNG"


def test_progress_is_told_epoch_by_epoch(manager, dataset):
    session = manager.train(KEY, None, {"dataset": dataset, **SMALL, **LONG, "epochs": 3}).session
    events = epochs_of(manager, session.id)
    assert events
    assert events[0].keys() >= {"epoch", "of", "train_loss", "val_loss", "progress_pct", "eta_seconds"}
    percentages = [event["progress_pct"] for event in events]
    assert percentages == sorted(percentages)


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


def test_a_cancelled_training_frees_the_processor_within_five_seconds(manager, dataset, tmp_path):
    session = manager.train(KEY, None, {"dataset": dataset, **SMALL, **LONG}, wait=False).session
    wait_for_epochs(manager, session.id)
    child = child_at_work(tmp_path)
    began = time.monotonic()
    assert manager.cancel(session.id, "default").state == "cancelled"
    assert has_gone(child)
    assert time.monotonic() - began < 5
    assert manager.storage.versions.pointer(KEY.path) is None


def test_a_killed_training_is_resumed_by_retry_from_its_last_epoch(manager, dataset, tmp_path):
    options = {"dataset": dataset, **SMALL, **LONG, "epochs": 12}
    session = manager.train(KEY, None, options, wait=False).session
    kept = tmp_path / "data" / "cache" / "checkpoints"
    deadline = time.monotonic() + 240
    while not list(kept.glob("*.safetensors")) or len(epochs_of(manager, session.id)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(child_at_work(tmp_path), signal.SIGKILL)
    while not manager.sessions.get(session.id).has_ended:
        time.sleep(0.05)
    assert manager.sessions.get(session.id).state in {"failed", "interrupted"}

    again = manager.retry(session.id, "default").session
    assert again.state == "completed", again.error
    assert epochs_of(manager, again.id)[0]["epoch"] > 1
    resumed = json.loads(manager.downloads.file(KEY, None, "training_history.json").read_text())
    assert [entry["epoch"] for entry in resumed["epochs"]] == list(range(1, 13))

    whole = manager.train(ModelKey("forecasting", "uninterrupted"), None, options).session
    assert whole.state == "completed"
    other = ModelKey("forecasting", "uninterrupted")
    one, two = (manager.downloads.file(key, None, "model.safetensors").read_bytes() for key in (KEY, other))
    assert one == two
