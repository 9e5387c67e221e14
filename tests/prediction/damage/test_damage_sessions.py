"""Damage detection through the whole house: sessions with progress, cancel, resume, and answers over HTTP."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from app import create_app
from prediction.contract import ModelKey
from settings import Settings
from storage.datasets.recordings.waveform import encode_wav
from tests.prediction.damage.conftest import RATE, SMALL, archive, recording
from tests.prediction.killed_trainings import epochs_of, goes_on_and_is_cancelled, killed_in_its_epochs

KEY = ModelKey("damage", "fan-1")


@pytest.fixture
def executor() -> str:
    return "in-process"


@pytest.fixture
def app(tmp_path, executor):
    settings = Settings(home=tmp_path, sentence_model="none", demo_data=False, shutdown_grace_seconds=1)
    made = create_app(replace(settings, executor=executor))
    made.testing = True
    yield made
    made.extensions["millwright"].close()
    made.extensions["millwright"].storage.database.close()


def upload(client, content: bytes) -> str:
    answer = client.post("/datasets", data={"file": (io.BytesIO(content), "plant.zip")})
    assert answer.status_code == 201, answer.json
    return answer.json["id"]


def test_an_archive_becomes_a_champion_that_listens(app):
    client = app.test_client()
    asked = {"dataset": upload(client, archive(6)), "num_epochs": 8, "learning_rate": 0.01, **SMALL}
    told = client.post("/train/damage/fan-1?async=0", json=asked).json
    assert (told["success"], told["promoted"]) == (True, True), told
    epochs = epochs_of(app.extensions["millwright"], told["training_session_id"])
    assert epochs[0].keys() >= {"train_loss", "val_loss", "train_accuracy", "val_accuracy", "progress_pct"}

    wave = recording("knocking", seed=80)
    wav = encode_wav(wave[:, None], RATE)
    text = "x\n" + "\n".join(f"{value:.6f}" for value in wave)
    ways = [
        client.post("/predict/damage/fan-1", data=wav, content_type="audio/wav"),
        client.post("/predict/damage/fan-1", data={"file": (io.BytesIO(wav), "new.wav")}),
        client.post(f"/predict/damage/fan-1?sampling_rate_hz={RATE}", data=text, content_type="text/csv"),
        client.post("/predict/damage/fan-1", json={"samples": wave.tolist(), "sampling_rate_hz": RATE}),
    ]
    answers = [way.json["predictions"][0] for way in ways]
    assert [answer["class"] for answer in answers] == ["knocking"] * 4
    assert answers[0]["probabilities"] == pytest.approx(answers[3]["probabilities"], abs=1e-4)
    assert all(way.headers["X-Model-Version"] == "1" for way in ways)

    refused = client.post("/predict/damage/fan-1", data=b"RIFF....WAVE", content_type="audio/wav")
    assert (refused.status_code, refused.json["code"]) == (422, "invalid")
    other = client.post("/predict/damage/fan-1", data={"other": (io.BytesIO(wav), "new.wav")})
    assert other.status_code == 400
    assert client.get("/models/damage/fan-1/champion/files/model.safetensors").status_code == 200


def test_another_family_takes_no_file(app):
    wav = encode_wav(recording("healthy")[:, None], RATE)
    refused = app.test_client().post("/predict/forecasting/line", data=wav, content_type="audio/wav")
    assert refused.status_code == 415


def test_what_cannot_be_trained_is_refused_before_there_is_a_session(app):
    client = app.test_client()
    table = upload(client, b"a,b\n1,2\n2,3\n")
    assert "recordings" in client.post("/train/damage/fan-1", json={"dataset": table}).json["error"]
    one = upload(client, archive(4, kinds=("healthy",)))
    assert "two classes" in client.post("/train/damage/fan-1", json={"dataset": one}).json["error"]
    assert client.get("/train/sessions").json["count"] == 0


@pytest.mark.parametrize("executor", ["local"])
def test_a_killed_training_goes_on_from_its_last_epoch_until_it_is_cancelled(app, tmp_path):
    manager = app.extensions["millwright"]
    dataset = upload(app.test_client(), archive(6))
    options = {"dataset": dataset, **SMALL, "overlap": 0.5, "epochs": 5000, "early_stopping_patience": 0}
    killed = killed_in_its_epochs(manager, KEY, options, tmp_path)
    goes_on_and_is_cancelled(manager, killed, tmp_path)
    assert manager.storage.versions.pointer(KEY.path) is None
