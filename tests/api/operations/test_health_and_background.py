"""Health and metrics: what an operator and Prometheus are told."""

from __future__ import annotations

import threading

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from api.operations.background import BACKGROUND, _Heartbeat
from errors import NotReady, StorageFailed
from prediction.contract import Resources
from tests.api.conftest import TOY
from tests.toy_family import ToyPredictor, records
from tests.waiting import eventually


def test_a_server_with_too_little_data_is_ready_and_says_so(client: FlaskClient) -> None:
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json == {"status": "ok", "champions": [], "problems": []}


def test_champions_are_named(trained: FlaskClient) -> None:
    for path in ("/health", "/health/ready"):
        assert trained.get(path).get_json()["champions"] == [{"model": "toy/default", "version": 1}]


def test_of_a_fleet_a_few_are_named_and_all_are_counted(
    trained: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.operations.health.MAX_LISTED_MODELS", 0)
    for path in ("/health", "/health/ready"):
        found = trained.get(path).get_json()
        assert (found["status"], found["champions"], found["large_families"]) == ("ok", [], {"toy": 1})


def test_one_damaged_pointer_takes_no_server_out_of_service(client: FlaskClient, app: Flask) -> None:
    client.post(TOY, json=records(10))
    versions = app.extensions["millwright"].storage.versions
    versions.pointer_file("default/toy/default").write_bytes(b"{")
    for path in ("/health", "/health/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()["status"], answer.get_json()["champions"]) == (
            200,
            "degraded",
            [],
        )
        assert answer.get_json()["problems"] == ["The live pointer of toy/default is damaged"]
    assert [model["champion"] for model in client.get("/models").get_json()["results"]] == [None]
    assert "damaged" in client.get("/models").get_json()["results"][0]["error"]
    assert 'millwright_champions_damaged{family="toy",tenant="default"} 1' in client.get("/metrics").text

    promoted = client.post("/models/toy/default/versions/1/promote")
    assert (promoted.status_code, promoted.get_json()["previous_version"]) == (200, None)
    assert client.get("/health").get_json()["problems"] == []


def test_a_champion_without_a_manifest_is_counted_as_damaged(client: FlaskClient, app: Flask) -> None:
    client.post(TOY, json=records(10))
    versions = app.extensions["millwright"].storage.versions
    (versions.folder("default/toy/default", 1) / "manifest.json").unlink()
    text = client.get("/metrics").text
    assert 'millwright_champions_damaged{family="toy",tenant="default"} 1' in text
    assert 'millwright_champion_version{model="toy/default",tenant="default"} 1' in text


def test_a_champion_that_cannot_be_read_degrades_health_once_it_was_asked(
    client: FlaskClient, app: Flask
) -> None:
    client.post(TOY, json=records(10))
    versions = app.extensions["millwright"].storage.versions
    app.extensions["millwright"].model_cache._models.clear()
    model = versions.champion("default/toy/default").folder / "model.json"
    model.write_bytes(b"{")
    assert client.post("/predict/toy/default", json=[{"x": 1}]).status_code == 500
    health = client.get("/health").get_json()
    assert health["status"] == "degraded"
    assert health["problems"][0].startswith("The champion of toy/default cannot be read")


def test_what_answers_lack_is_told_until_a_worker_has_computed_it_again(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post(TOY, json=records(10))
    lacking = ["Evidence is found by letters"]
    monkeypatch.setattr(ToyPredictor, "limitation", lambda predictor: lacking[0] if lacking else "")
    monkeypatch.setattr(ToyPredictor, "rebuild", lambda predictor, may_compute: lacking.clear())
    monkeypatch.setattr("api.operations.background.REBUILD_POLL_SECONDS", 0.01)
    answer = client.post("/predict/toy/default", json=[{"x": 1}]).get_json()
    assert answer["warnings"] == ["Evidence is found by letters"]
    assert client.get("/health").get_json()["problems"] == ["toy/default: Evidence is found by letters"]
    worker = app.extensions[BACKGROUND]
    worker.start()
    try:
        eventually(lambda: client.get("/health").get_json()["problems"] == [])
    finally:
        worker.stopping.set()


def test_a_pointer_that_has_vanished_is_not_counted(client: FlaskClient, app: Flask) -> None:
    client.post(TOY, json=records(10))
    app.extensions["millwright"].storage.versions.pointer_file("default/toy/default").unlink()
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert 'millwright_champions{family="toy",tenant="default"} 0' in answer.text


def test_a_server_that_makes_its_first_champion_is_not_ready(client: FlaskClient, app: Flask) -> None:
    busy = threading.Event()
    app.extensions[BACKGROUND]._first_training = training = threading.Thread(target=busy.wait)
    training.start()
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "first_training")
    assert "Retry-After" in answer.headers
    busy.set()
    training.join()
    assert client.get("/health/ready").status_code == 200


def test_a_server_that_stops_is_not_ready_but_alive(client: FlaskClient, app: Flask) -> None:
    app.extensions[BACKGROUND].stopping.set()
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200


def test_a_silent_database_is_told(client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> None:
        raise NotReady("locked")

    monkeypatch.setattr(app.extensions["millwright"].storage.database, "ping", silent)
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health").get_json()["status"] == "degraded"


def test_health_answers_where_the_database_does_not(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent() -> None:
        raise NotReady("away")

    for method in ("read", "ping"):
        monkeypatch.setattr(app.extensions["millwright"].storage.database, method, silent)
    answer = client.get("/health")
    assert (answer.status_code, answer.get_json()["status"]) == (200, "degraded")


def test_a_worker_beats_and_loads_again_when_it_is_told(client: FlaskClient, app: Flask) -> None:
    client.post(TOY, json=records(10))
    worker = app.extensions[BACKGROUND]
    storage = app.extensions["millwright"].storage
    worker.start()
    try:
        with storage.journal.hold_store_lock():
            epoch = storage.versions.raise_epoch()
        for _ in range(200):
            if [row.epoch for row in storage.workers.list_live()] == [epoch]:
                break
            threading.Event().wait(0.02)
        assert [(row.epoch, row.failure()) for row in storage.workers.list_live()] == [(epoch, None)]
    finally:
        worker.stopping.set()


def test_a_worker_whose_first_heartbeat_fails_goes_on(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, manager = app.extensions[BACKGROUND], app.extensions["millwright"]
    read, refused = manager.models.epoch, threading.Event()

    def refuse_once() -> int:
        if not refused.is_set():
            refused.set()
            raise StorageFailed("models/epoch.json: Input/output error")
        return int(read())

    monkeypatch.setattr(manager.models, "epoch", refuse_once)
    worker.start()
    try:
        eventually(manager.storage.workers.list_live)
    finally:
        worker.stopping.set()
    assert refused.is_set()


def test_a_champion_that_a_worker_cannot_load_again_is_told_until_it_can(
    client: FlaskClient, app: Flask
) -> None:
    client.post(TOY, json=records(10))
    client.post("/predict/toy/default", json=[{"x": 1}])
    worker, storage = app.extensions[BACKGROUND], app.extensions["millwright"].storage
    kept = storage.versions.champion("default/toy/default").folder / "model.json"
    whole = kept.read_bytes()
    heartbeat = _Heartbeat(app.extensions["millwright"])

    def reload_answer(reload: bool) -> bool:
        with storage.journal.hold_store_lock():
            storage.versions.raise_epoch(reload=reload)
        heartbeat.run_once()
        problems = client.get("/health").get_json()["problems"]
        assert (client.get("/health").get_json()["status"] == "degraded") == bool(problems)
        return any("cannot load its models" in problem for problem in problems)

    kept.write_bytes(whole[:-2])
    assert not reload_answer(reload=False), "what has not moved is not read again"
    assert reload_answer(reload=True)
    assert reload_answer(reload=False), "another model's promotion has repaired nothing"
    assert client.post("/predict/toy/default", json=[{"x": 1}]).status_code == 200
    kept.write_bytes(whole)
    assert not reload_answer(reload=False)
    worker.stopping.set()


def test_a_worker_gets_ready_for_the_first_question(client: FlaskClient, app: Flask) -> None:
    client.post(TOY, json=records(10))
    worker, live = app.extensions[BACKGROUND], app.extensions["millwright"].model_cache
    live.resources = Resources(live.resources.cache_dir)
    worker.start()
    try:
        worker._first_training.join(20)
        assert live.resources.get_or_create("toy", lambda: "cold") == "warm"
    finally:
        worker.stopping.set()


def test_metrics_are_in_prometheus_own_format(trained: FlaskClient) -> None:
    trained.post("/predict/toy/default", json=[{"x": 1}, {"x": 2}])
    answer = trained.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    families = {
        family.name: family for family in text_string_to_metric_families(answer.get_data(as_text=True))
    }
    told = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert told["millwright_champion_version", "default", "toy/default"] == 1
    assert 0 <= told["millwright_champion_age_seconds", "default", "toy/default"] < 600
    assert told["millwright_sessions", "completed", "default", "toy/default"] == 1
    assert told["millwright_sessions", "default", "failed", "toy/default"] == 0
    assert told["millwright_champion_score", "default", "mae", "toy/default"] >= 0
    assert told["millwright_backups",] >= 2
    assert told["millwright_backup_bytes",] > 0
    assert told["millwright_storage_free_bytes",] > 0
    assert told["millwright_predictions_total", "default", "toy"] >= 2
    assert "millwright_http_request_seconds" in families


def test_no_label_grows_with_what_clients_send(trained: FlaskClient) -> None:
    trained.get("/a-path-nobody-knows")
    trained.open("/models", method="BREW")
    trained.get("/models/toy/secret-name")
    text = trained.get("/metrics").get_data(as_text=True)
    assert "a-path-nobody-knows" not in text
    assert "BREW" not in text
    assert "secret-name" not in text
