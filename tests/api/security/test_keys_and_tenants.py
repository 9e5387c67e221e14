"""API keys: open on this machine while there are none, then roles and tenants hold on every route."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.http.resource import access_policy_of
from tests.api.conftest import TOY, open_app, settings_in
from tests.toy_family import records

VALUES = {"family": "toy", "name": "default", "session_id": "1", "version": "1", "file": "manifest.json"}
SIGNS_OF_LIFE = {"/health", "/ping", "/health/live", "/health/ready"}
PAGES = {
    "/sign-in",
    "/language",
    "/dashboard/<file>",
    "/docs",
    "/docs/<file>",
    "/openapi.json",
}


@pytest.fixture(scope="module")
def keyed_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Return an application with keys of every role, another tenant's too, and something to steal."""
    for app in open_app(settings_in(tmp_path_factory.mktemp("keyed"))):
        client = app.test_client()
        assert client.post(TOY, json=records(10)).status_code == 200
        keys = app.extensions["millwright"].keys
        app.secrets = {role: keys.create(role)[0] for role in ("read", "train", "admin")}  # type: ignore[attr-defined]
        app.secrets["stranger"] = keys.create("admin", tenant="other")[0]  # type: ignore[attr-defined]
        revoked, row = keys.create("admin")
        keys.revoke(row.id)
        app.secrets["revoked"] = revoked  # type: ignore[attr-defined]
        yield app


def routes(app: Flask) -> list[tuple[str, str, str | None]]:
    """Every route as method, path and role."""
    found = []
    for rule in app.url_map.iter_rules():
        access_policy = access_policy_of(app.view_functions[rule.endpoint])
        assert access_policy is not None, f"{rule.rule} has no manners"
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: VALUES.get(match[1], "1"), rule.rule)
        found += [
            (m, path, access_policy.role) for m in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        ]
    return sorted(found, key=str)


def test_only_signs_of_life_and_pages_without_data_are_open(keyed_app: Flask) -> None:
    opened = {
        rule.rule
        for rule in keyed_app.url_map.iter_rules()
        if access_policy_of(keyed_app.view_functions[rule.endpoint]).role is None
    }
    assert opened == SIGNS_OF_LIFE | PAGES


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer mw_wrong"}, {"X-API-Key": "mw_wrong"},
                                    {"Authorization": "Basic bXc6bXc="}, {"Authorization": "Bearer "},
                                    {"X-API-Key": "é"}, {"X-API-Key": ""}])  # fmt: skip
def test_without_a_key_nothing_is_told(keyed_app: Flask, header: dict[str, str]) -> None:
    for method, path, role in routes(keyed_app):
        if role is not None:
            answer = keyed_app.test_client().open(path, method=method, headers=header)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.get_json()["code"] == "unauthorized"


def test_a_revoked_key_opens_nothing(keyed_app: Flask) -> None:
    for method, path, role in routes(keyed_app):
        if role is not None:
            assert _request(keyed_app, "revoked", method, path).status_code == 401, (method, path)


@pytest.mark.parametrize("mine", ["read", "train"])
def test_a_role_does_not_reach_above_itself(keyed_app: Flask, mine: str) -> None:
    roles = ["read", "train", "admin"]
    above = [r for r in routes(keyed_app) if r[2] in roles and roles.index(r[2]) > roles.index(mine)]
    assert len(above) >= 3
    for method, path, _ in above:
        answer = _request(keyed_app, mine, method, path)
        assert (answer.status_code, answer.json["code"]) == (403, "forbidden"), (method, path)


@pytest.mark.parametrize("role", ["read", "train", "admin"])
@pytest.mark.parametrize("way", ["Authorization", "authorization", "X-API-Key"])
def test_a_key_is_taken_either_way(keyed_app: Flask, role: str, way: str) -> None:
    secret = keyed_app.secrets[role]  # type: ignore[attr-defined]
    value = secret if way == "X-API-Key" else f"Bearer {secret}"
    assert keyed_app.test_client().get("/models", headers={way: value}).status_code == 200


def test_a_read_key_may_predict(keyed_app: Flask) -> None:
    answer = _request(keyed_app, "read", "POST", "/predict/toy/default", json=[{"x": 1}])
    assert answer.status_code == 200


def test_another_tenant_sees_nothing_of_ours(keyed_app: Flask) -> None:
    backup = _request(keyed_app, "admin", "GET", "/train/backups").json["backups"][0]["name"]
    assert _request(keyed_app, "stranger", "GET", "/models").json["results"] == []
    assert _request(keyed_app, "stranger", "GET", "/train/backups").json["backups"] == []
    assert _request(keyed_app, "stranger", "GET", "/train/sessions").json["results"] == []
    assert _request(keyed_app, "stranger", "GET", "/train/statistics").json["quality"] == []
    assert _request(keyed_app, "stranger", "GET", "/train/status").json["training_sessions_completed"] == 0
    assert "toy/default" in _request(keyed_app, "read", "GET", "/metrics").text
    assert "toy/default" not in _request(keyed_app, "stranger", "GET", "/metrics").text
    for method, path in [
        ("GET", "/models/toy/default"),
        ("GET", "/models/toy/default/versions"),
        ("GET", "/models/toy/default/versions/1"),
        ("GET", "/models/toy/default/versions/1/files/model.json"),
        ("GET", "/models/toy/default/champion/files/model.json"),
        ("POST", "/models/toy/default/versions/1/promote"),
        ("GET", "/train/sessions/1"),
        ("GET", "/train/sessions/1/events"),
        ("POST", "/train/sessions/1/cancel"),
        ("POST", "/train/sessions/1/retry"),
        ("POST", "/train/undo/1"),
        ("GET", f"/train/backups/{backup}"),
        ("POST", f"/train/backups/{backup}/verify"),
        ("POST", f"/train/restore/{backup}"),
        ("POST", f"/train/restore/{backup}?dry_run=1"),
        ("DELETE", f"/train/backups/{backup}"),
    ]:
        assert _request(keyed_app, "stranger", method, path).status_code == 404, (method, path)
    assert _request(keyed_app, "admin", "GET", f"/train/backups/{backup}").status_code == 200


def test_without_keys_only_this_machine_comes_in(client: FlaskClient) -> None:
    away = {"environ_overrides": {"REMOTE_ADDR": "192.168.1.9"}}
    assert client.get("/models", **away).status_code == 401
    assert client.post("/train/reload", **away).status_code == 401
    assert client.get("/health/live", **away).status_code == 200
    assert client.get("/models").status_code == 200


def test_keys_never_appear_in_an_answer(keyed_app: Flask) -> None:
    secret = keyed_app.secrets["train"]  # type: ignore[attr-defined]
    for method, path, _ in routes(keyed_app):
        assert secret.encode() not in _request(keyed_app, "train", method, path).data


def _request(app: Flask, who: str, method: str, path: str, **more: Any) -> TestResponse:
    secret = app.secrets[who]  # type: ignore[attr-defined]
    return app.test_client().open(path, method=method, headers={"Authorization": f"Bearer {secret}"}, **more)
