"""Backups, restores, versions and files over HTTP."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.operations import tenant_gauges
from tests.api.conftest import TOY
from tests.toy_family import records

NAME = re.compile(r"backup_\d{8}_\d{6}(_\d+)?")


@pytest.fixture
def versions(client: FlaskClient) -> FlaskClient:
    """Return a client of a server with two versions, the second one serving."""
    assert client.post(TOY, json=records(10)).get_json()["promoted"]
    assert client.post(TOY, json=records(10, 100)).get_json()["promoted"]
    return client


def test_backups_are_listed_as_the_guide_says(versions: FlaskClient) -> None:
    body = versions.get("/train/backups").get_json()
    assert body["count"] == 2
    for backup in body["backups"]:
        assert NAME.fullmatch(backup["name"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", backup["created"])
        assert backup["path"] == f"model_backups/{backup['name']}"
        assert backup["verified"] is True
        assert backup["retain"] is False
        assert backup["reason"]
    sessions = [backup["training_session_id"] for backup in body["backups"]]
    assert sessions == sorted(sessions, reverse=True)


def test_a_backup_is_made_on_request(versions: FlaskClient) -> None:
    answer = versions.post("/train/backups", json={"reason": "before the audit", "retain": True})
    assert answer.status_code == 201
    assert answer.get_json()["reason"] == "before the audit"
    assert answer.get_json()["retain"] is True
    assert (
        versions.get(f"/train/backups/{answer.get_json()['name']}").get_json()["name"]
        == answer.get_json()["name"]
    )


@pytest.mark.parametrize("wish", [[], {"reason": ""}, {"reason": 5}, {"retain": "yes"}, {"keep": True},
                                  {"reason": "x" * 256}])  # fmt: skip
def test_a_wish_that_cannot_be_met_is_refused(trained: FlaskClient, wish: object) -> None:
    assert trained.post("/train/backups", json=wish).status_code == 422


def test_a_restore_brings_data_and_models_back_and_can_be_undone(versions: FlaskClient, app: Flask) -> None:
    home = app.extensions["millwright"].storage.settings.home
    after = _state(home)
    backup = versions.get("/train/backups").get_json()["backups"][0]["name"]
    trial = versions.post(f"/train/restore/{backup}?dry_run=1")
    assert trial.get_json()["dry_run"] is True
    assert trial.get_json()["changes"]
    assert _state(home) == after
    answer = versions.post(f"/train/restore/{backup}")
    assert answer.get_json()["success"] is True
    assert answer.get_json()["message"] == f"Successfully restored from backup {backup}"
    assert answer.get_json()["models_reloaded"] is True
    assert versions.post("/predict/toy/default", json=[{"x": 0}]).get_json()["model_version"] == 1
    assert _state(home) != after
    safety = answer.get_json()["safety_backup"].removeprefix("model_backups/")
    assert versions.post(f"/train/restore/{safety}").status_code == 200
    assert _state(home) == after


def test_a_damaged_backup_is_not_restored(versions: FlaskClient, app: Flask) -> None:
    backup = versions.get("/train/backups").get_json()["backups"][0]["name"]
    folder = app.extensions["millwright"].storage.settings.backups_dir / backup
    victim = next(path for path in sorted(folder.rglob("toy-default.csv")))
    victim.chmod(0o644)
    data = bytearray(victim.read_bytes())
    data[-2] ^= 1
    victim.write_bytes(data)
    for path in (f"/train/backups/{backup}/verify", f"/train/restore/{backup}"):
        answer = versions.post(path)
        assert (answer.status_code, answer.get_json()["code"]) == (422, "backup_corrupt")
    assert versions.post("/predict/toy/default", json=[{"x": 0}]).get_json()["model_version"] == 2


def test_a_backup_is_verified_and_removed(versions: FlaskClient) -> None:
    made = versions.post("/train/backups").get_json()["name"]
    assert versions.post(f"/train/backups/{made}/verify").get_json()["success"] is True
    listed = versions.get("/train/backups").get_json()["backups"]
    oldest = listed[-1]["name"]
    assert versions.delete(f"/train/backups/{oldest}").status_code == 200
    assert versions.get(f"/train/backups/{oldest}").status_code == 404
    assert versions.delete(f"/train/backups/{oldest}").status_code == 404


def test_models_and_versions_are_listed(versions: FlaskClient) -> None:
    body = versions.get("/models").get_json()
    assert [(m["model"], m["champion"], m["versions"]) for m in body["results"]] == [("toy/default", 2, 2)]
    assert versions.get("/models/toy/default").get_json()["metrics"]["metrics"]["mae"] >= 0
    listed = versions.get("/models/toy/default/versions").get_json()
    assert [(v["version"], v["champion"]) for v in listed["results"]] == [(2, True), (1, False)]
    assert listed["results"][0]["manifest"]["version"] == 2
    page = versions.get("/models/toy/default/versions?limit=1").get_json()
    assert page["next_cursor"] == 2
    rest = versions.get(f"/models/toy/default/versions?limit=1&cursor={page['next_cursor']}").get_json()
    assert [v["version"] for v in rest["results"]] == [1]


def test_many_models_are_listed_page_by_page_and_told_to_prometheus_as_a_family(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        assert client.post(f"/train/toy/{name}", json=records(10)).status_code == 200
    first = client.get("/models?limit=2").get_json()
    assert [model["name"] for model in first["results"]] == ["a", "b"]
    rest = client.get(f"/models?limit=2&cursor={first['next_cursor']}").get_json()
    assert ([model["name"] for model in rest["results"]], rest["next_cursor"]) == (["c"], None)
    assert client.get("/models?family=scoring").get_json()["results"] == []
    assert client.get("/models?family=nonsense").status_code == 422
    singly = 'millwright_champion_version{model="toy/a",tenant="default"} 1'
    assert singly in client.get("/metrics").text
    monkeypatch.setattr(tenant_gauges, "MAX_LISTED_MODELS", 2)
    told = client.get("/metrics").text
    assert 'millwright_champions{family="toy",tenant="default"} 3' in told
    assert singly not in told


def test_an_earlier_version_is_promoted_by_hand(versions: FlaskClient) -> None:
    answer = versions.post("/models/toy/default/versions/1/promote")
    assert answer.status_code == 200
    assert answer.get_json()["version"] == 1
    assert versions.post("/train/reload").status_code == 200
    assert versions.post("/predict/toy/default", json=[{"x": 0}]).headers["X-Model-Version"] == "1"


def test_files_are_sent_as_downloads(versions: FlaskClient) -> None:
    for path in ("/models/toy/default/versions/2/files", "/models/toy/default/champion/files"):
        answer = versions.get(f"{path}/model.json")
        assert answer.status_code == 200
        assert answer.mimetype == "application/octet-stream"
        assert "attachment" in answer.headers["Content-Disposition"]
        assert answer.headers["X-Model-Version"] == "2"
        assert versions.get(f"{path}/manifest.json").status_code == 200
        assert versions.get(f"{path}/nothing.bin").status_code == 404


def test_a_file_that_is_made_on_demand_is_made_once_and_sent(versions: FlaskClient) -> None:
    answers = [versions.get("/models/toy/default/champion/files/model.txt") for _ in range(2)]
    assert [answer.data for answer in answers] == [b"the mean, in words"] * 2


def test_what_is_not_there_is_not_found(trained: FlaskClient) -> None:
    for path in ("/models/toy/other", "/models/toy/other/versions", "/models/toy/default/versions/99",
                 "/models/toy/default/versions/99/files/model.json", "/models/scoring/default",
                 "/models/scoring/default/champion/files/x"):  # fmt: skip
        assert trained.get(path).status_code == 404, path


def _state(home: Path) -> dict[str, bytes]:
    files = [*(home / "data").glob("toy-*.csv"), *(home / "models").rglob("champion.json")]
    return {str(file.relative_to(home)): file.read_bytes() for file in files}
