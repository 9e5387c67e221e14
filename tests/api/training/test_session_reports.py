"""Reports over HTTP: for every end of a session, for its own tenant only, the same bytes each time."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from errors import NotFound
from storage.filesystem.files import remove_tree
from tests.api.conftest import TOY
from tests.toy_family import records
from training.services import report_cache


def _trained(client: FlaskClient, **body: object) -> int:
    """Return the number of the last session after a training, however it ended."""
    client.post(TOY, json=body or records(20))
    return int(client.get("/train/sessions?limit=1").get_json()["results"][0]["training_session_id"])


@pytest.fixture
def last(client: FlaskClient) -> int:
    return _trained(client)


def test_both_forms_are_there_and_always_the_same(client: FlaskClient, last: int) -> None:
    pdf = client.get(f"/train/sessions/{last}/report.pdf")
    html = client.get(f"/train/sessions/{last}/report.html")
    assert (pdf.status_code, pdf.content_type, pdf.data[:5]) == (200, "application/pdf", b"%PDF-")
    assert (html.status_code, html.content_type) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in html.headers["Content-Security-Policy"]
    assert "toy/default" in html.text
    assert re.search(r"promoted", html.text)
    assert client.get(f"/train/sessions/{last}/report.pdf").data == pdf.data


def test_a_report_made_again_from_nothing_has_the_same_bytes(app: Flask, client: FlaskClient) -> None:
    number = _trained(client)
    reports = app.extensions["millwright"].reports
    first = reports.file(number, "default", "pdf")
    bytes_before = first.read_bytes()
    first.unlink()
    first.with_name("report.html").unlink()
    first.parent.rmdir()
    assert client.post(TOY, json=records(5, 100)).status_code == 200, "what comes later changes no report"
    assert reports.file(number, "default", "pdf").read_bytes() == bytes_before


def test_the_cache_keeps_one_report_a_session_and_those_of_the_last_sessions(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_cache, "MAX_CACHED_SESSIONS", 2)
    reports = app.extensions["millwright"].reports
    numbers = [_trained(client), *(_trained(client, records=records(5, 100 * n)) for n in (1, 2))]
    kept = [reports.file(number, "default", "pdf").parent for number in numbers]
    assert [folder.exists() for folder in kept] == [False, True, True]
    (kept[2].parent / ("0" * len(kept[2].name))).mkdir()
    remove_tree(kept[2])
    assert reports.file(numbers[2], "default", "pdf").exists()
    assert [folder.name for folder in kept[2].parent.iterdir()] == [kept[2].name]


def test_a_session_that_failed_says_why(client: FlaskClient) -> None:
    number = _trained(client, records=records(20), options={"fail": True})
    text = client.get(f"/train/sessions/{number}/report.html").text
    assert "told to fail" in text
    assert "Data and models are as they were before the session." in text
    assert client.get(f"/train/sessions/{number}/report.pdf").status_code == 200


def test_a_rejected_version_has_the_gates_reasons(client: FlaskClient, last: int) -> None:
    number = _trained(client, records=records(5, 100), options={"bias": 3.0})
    text = client.get(f"/train/sessions/{number}/report.html").text
    assert "not promoted" in text
    assert "worse" in text


def test_no_report_without_a_session(client: FlaskClient) -> None:
    for form in ("pdf", "html"):
        assert client.get(f"/train/sessions/77/report.{form}").status_code == 404
    assert client.get("/train/sessions/77/report.exe").status_code == 404


def test_another_tenant_has_no_such_report(app: Flask, client: FlaskClient, last: int) -> None:
    keys = app.extensions["millwright"].keys
    mine, stranger = keys.create("read")[0], keys.create("admin", tenant="other")[0]
    for form in ("pdf", "html"):
        path = f"/train/sessions/{last}/report.{form}"
        assert client.get(path, headers={"X-API-Key": stranger}).status_code == 404
        assert client.get(path, headers={"X-API-Key": mine}).status_code == 200


def test_a_running_session_has_none_yet(app: Flask, client: FlaskClient) -> None:
    sessions = app.extensions["millwright"].storage.sessions
    lock = app.extensions["millwright"].storage.training_lock("default/toy/busy")
    with lock:
        row = sessions.create(tenant="default", family="toy", name="busy", kind="train", state="running")
        answer = client.get(f"/train/sessions/{row.id}/report.pdf")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "conflict")


def test_the_two_files_of_every_version(client: FlaskClient, last: int) -> None:
    files = "/models/toy/default/versions/1/files"
    info = client.get(f"{files}/model_info.json").get_json(force=True)
    assert (info["format"], info["family"], info["headline"]["name"]) == (1, "toy", "mae")
    assert info["scores"]["held_out"] == 4
    history = client.get(f"{files}/training_history.json").get_json(force=True)
    assert (history["format"], history["epochs"]) == (1, [])


@pytest.mark.parametrize(
    ("name", "form"), [("report.pdf", "pdf"), ("report.html", "html"), ("report", "html")]
)
def test_the_report_stands_among_the_files_of_its_version(
    client: FlaskClient, last: int, name: str, form: str
) -> None:
    version = client.get("/models/toy/default/versions").get_json()["results"][0]["version"]
    file = client.get(f"/models/toy/default/versions/{version}/files/{name}")
    assert file.status_code == 200
    assert file.data == client.get(f"/train/sessions/{last}/report.{form}").data
    assert file.headers["Content-Disposition"].endswith(f"report.{form}")
    assert client.get(f"/models/toy/default/champion/files/{name}").data == file.data


def test_a_version_of_another_database_has_no_report(app: Flask, client: FlaskClient, last: int) -> None:
    manager = app.extensions["millwright"]
    version = manager.storage.versions.get("default/toy/default", 1)
    elsewhere = replace(version, manifest={**version.manifest, "session_id": None})
    with pytest.raises(NotFound, match="no session that made version 1"):
        manager.reports.of_version(elsewhere, "html")
    with pytest.raises(NotFound):
        manager.reports.of_version(replace(version, number=9), "html")
