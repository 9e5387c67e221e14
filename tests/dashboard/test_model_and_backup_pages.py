"""The pages of models and backups: versions side by side, proofs, and a restore that is seen before it is done."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from flask import Flask

from tests.api.conftest import TOY, open_app, settings_in
from tests.dashboard.test_pages import BROWSER, sign_in, token_on
from tests.toy_family import records
from tests.waiting import eventually


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Return an application whose toy model has two versions, with a key of each role."""
    for app in open_app(settings_in(tmp_path_factory.mktemp("plant"))):
        for count in (20, 40):
            assert app.test_client().post(TOY, json=records(count)).status_code == 200
        keys = app.extensions["millwright"].keys
        app.secrets = {role: keys.create(role)[0] for role in ("read", "train", "admin")}  # type: ignore[attr-defined]
        app.secrets["stranger"] = keys.create("admin", tenant="other")[0]  # type: ignore[attr-defined]
        yield app


def test_versions_stand_side_by_side_and_one_is_promoted(plant: Flask) -> None:
    client = sign_in(plant, "admin")
    listed = client.get("/versions", headers=BROWSER).text
    assert 'href="/versions/toy/default"' in listed
    page = client.get("/versions/toy/default", headers=BROWSER).text
    assert page.index(">2 ") < page.index(">1<")
    assert "Headline metric" in page
    path = "/versions/toy/default/1/promote"
    assert client.post(path, data={"token": token_on(client, "/versions/toy/default")}).status_code == 303
    assert client.get("/models/toy/default").json["champion"] == 1
    assert (
        client.post("/versions/toy/default/9/promote", data={"token": token_on(client, "/")}).status_code
        == 404
    )
    assert client.get("/versions/toy/none", headers=BROWSER).status_code == 404


def test_a_backup_is_made_verified_protected_and_restored(plant: Flask) -> None:
    client = sign_in(plant, "admin")
    token = {"token": token_on(client, "/backups")}
    made = client.post("/backups", data={**token, "reason": "before <b>work</b>"})
    assert made.status_code == 303
    name = made.headers["Location"].rsplit("/", 1)[1]
    page = client.get(made.headers["Location"], headers=BROWSER).text
    assert "before &lt;b&gt;work&lt;/b&gt;" in page
    assert "Nothing: data and models are as they were." in page
    assert client.post(f"/backups/{name}/verify", data=token).status_code == 303
    assert client.post(f"/backups/{name}/protect", data={**token, "retain": "true"}).status_code == 303
    assert client.get(f"/train/backups/{name}").json["retain"] is True
    key = {"X-API-Key": plant.secrets["admin"]}  # type: ignore[attr-defined]
    assert plant.test_client().post(TOY, json=records(60), headers=key).status_code == 200
    assert "Nothing: data" not in client.get(f"/backups/{name}", headers=BROWSER).text
    restored = client.post(f"/backups/{name}/restore", data=token, headers=BROWSER)
    assert restored.status_code == 200
    safety = client.get("/train/backups").get_json()["backups"][0]["name"]
    assert f'href="/backups/{safety}"' in restored.text
    assert "before restoring" in client.get(f"/backups/{safety}", headers=BROWSER).text
    assert "Nothing: data and models" in client.get(f"/backups/{name}", headers=BROWSER).text


@pytest.mark.parametrize("reason", ["a\0b", "\x1b[31m", " \n"])
def test_a_reason_that_cannot_be_read_is_refused(plant: Flask, reason: str) -> None:
    client = plant.test_client()
    key = {"Authorization": f"Bearer {plant.secrets['train']}"}  # type: ignore[attr-defined]
    answer = client.post("/train/backups", json={"reason": reason}, headers=key)
    assert answer.status_code == 422 and ("control characters" in answer.text or "NUL" in answer.text)
    browser = sign_in(plant, "train")
    form = {"token": token_on(browser, "/"), "reason": reason}
    answer = browser.post("/backups", data=form, headers=BROWSER)
    assert answer.status_code == (422 if reason.strip() else 303)  # an empty field of a form is left out


def test_rules_of_retention_are_tried_without_removing_anything(plant: Flask) -> None:
    client = sign_in(plant, "admin")
    count = client.get("/train/backups").json["count"]
    assert "would be kept." not in client.get("/backups", headers=BROWSER).text
    page = client.get("/backups?keep_last=1&keep_daily=", headers=BROWSER).text
    assert f" of {count} backups would be kept." in page
    assert "last 1 of 1" in page
    assert client.get("/train/backups").json["count"] == count
    assert client.get("/backups?keep_last=many", headers=BROWSER).status_code == 422


def test_roles_and_tenants_hold_on_these_pages(plant: Flask) -> None:
    reader, stranger = sign_in(plant, "read"), sign_in(plant, "stranger")
    name = reader.get("/train/backups").json["backups"][0]["name"]
    token = {"token": token_on(reader, "/")}
    for path in (f"/backups/{name}/restore", "/versions/toy/default/1/promote", "/backups"):
        assert reader.post(path, data=token).status_code == 403
    for path in (f"/backups/{name}", "/versions/toy/default"):
        assert stranger.get(path, headers=BROWSER).status_code == 404
    assert "disabled>Restore this backup" in reader.get(f"/backups/{name}", headers=BROWSER).text
    token = {"token": token_on(stranger, "/")}
    assert stranger.post(f"/backups/{name}/restore", data=token).status_code == 404


def test_a_restore_tells_of_safer_answers_and_of_workers_that_did_not_follow(
    plant: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in(plant, "admin")
    name = client.get("/train/backups").get_json()["backups"][0]["name"]
    answer = {"case": "A-7 <b>", "score": "availability", "before": 5.0, "after": 3.0}
    result = {
        "changes": [],
        "safety_backup": f"model_backups/{name}",
        "workers": {9: "is busy"},
        "safer_answers": [answer],
        "warnings": ["it cannot be told of toy/pump"],
    }
    monkeypatch.setattr(plant.extensions["millwright"].backups, "restore", lambda *given, **options: result)
    token = {"token": token_on(client, "/backups")}
    answered = client.post(f"/backups/{name}/restore", data=token, headers=BROWSER)
    assert answered.status_code == 500
    page = answered.text
    # The answer to a form has no address of its own: the language is switched on the page of the form.
    assert f'name="next" value="/backups/{name}"' in page
    for text in ("A-7 &lt;b&gt;", "availability", "5", "3", "is busy", "cannot be told of toy/pump"):
        assert text in page


def test_a_page_verifies_in_no_thread_of_a_request(plant: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client, manager = sign_in(plant, "admin"), plant.extensions["millwright"]
    name = client.get("/train/backups").get_json()["backups"][0]["name"]
    threads: list[threading.Thread] = []
    monkeypatch.setattr(manager.backups, "verify", lambda *given: threads.append(threading.current_thread()))
    token = {"token": token_on(client, "/backups")}
    assert client.post(f"/backups/{name}/verify", data=token).status_code == 303
    eventually(lambda: threads)
    assert threads[0] is not threading.current_thread()
