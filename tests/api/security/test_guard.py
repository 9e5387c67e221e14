"""A web page must never drive a server on localhost: every trick is tried on every route that changes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.http.resource import access_policy_of
from api.security.guard import is_loopback
from tests.api.conftest import open_app, settings_in

SAFE = {"GET", "HEAD", "OPTIONS"}
VALUES = {"family": "toy", "name": "default", "session_id": "1", "version": "1", "file": "manifest.json"}
HOSTS = [
    "evil.com",
    "evil.com:5000",
    "localhost.evil.com",
    "127.0.0.1.nip.io",
    "127.0.0.1.evil.com:5000",
    "[::1]evil",
    "[::1].evil.com",
    "[::1",
    "::1",
    "localhost evil.com",
    "localhost,evil.com",
    "localhost,localhost",
    "evil.com@localhost",
    "localhost@evil.com",
    "localhost:80:80",
    "localhost:port",
    "localhost/",
    "localhost#evil.com",
    "localhost\\evil.com",
    "localhost.",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "0.0.0.0",
    "[::ffff:127.0.0.1]",
    "127.0.0.2",
    "１２７.0.0.1",
    "loc\u0430lhost",
    "*",
    "",
]
ORIGINS = [
    "https://evil.com",
    "http://evil.com",
    "null",
    "http://localhost:9999",
    "http://localhost.evil.com",
    "http://127.0.0.1",
    "http://localhost/",
    "HTTP://LOCALHOST",
    "http://LOCALHOST",
    "http://localhost@evil.com",
    "http://evil.com#localhost",
    "file://",
    "chrome-extension://abc",
    "ftp://localhost",
    "http://localhost, https://evil.com",
    "",
    "*",
]
SITES = ["cross-site", "same-site", "CROSS-SITE", "anything"]
TYPES = [
    "text/plain",
    "text/plain; charset=application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/html",
    "application/xml",
    "application/octet-stream",
    "application/jsonp",
    "text/json",
    "application/x-python-pickle",
    "application/json, text/plain",
    "application/json; charset=utf-16",
    "application/json; charset=latin-1",
    "",
    "*/*",
]


def changing_routes(app: Flask) -> list[tuple[str, str]]:
    """Every route that changes something, as method and path."""
    found = []
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - SAFE):
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: VALUES.get(match[1], "1"), rule.rule)
            found.append((method, path))
    return sorted(found)


@pytest.fixture(scope="module")
def untouched_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Return an application whose training manager must never be reached."""
    for app in open_app(settings_in(tmp_path_factory.mktemp("untouched"))):
        manager = app.extensions["millwright"]
        app.extensions["millwright"] = None
        yield app
        app.extensions["millwright"] = manager


@pytest.fixture
def routes(untouched_app: Flask) -> list[tuple[str, str]]:
    routes = changing_routes(untouched_app)
    assert len(routes) >= 13
    return routes


def _other(path: str) -> str:
    """Return the same path with a slash at its end, or without the one it has."""
    return path.removesuffix("/") if path.endswith("/") else f"{path}/"


def test_a_slash_at_the_end_makes_no_other_address(untouched_app: Flask) -> None:
    addresses = untouched_app.url_map.bind("localhost")
    for rule in untouched_app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: VALUES.get(match[1], "1"), rule.rule)
        named = path == "/" or "<path:" in rule.rule  # a file's name may hold slashes, and none ends in one
        for method in (rule.methods or set()) if not named else ():
            assert addresses.match(_other(path), method) == addresses.match(path, method)
    described = untouched_app.test_client().get("/openapi.json").get_json()["paths"]
    assert not {_other(path) for path in described} & set(described)


def test_a_slash_at_the_end_opens_no_door(untouched_app: Flask, routes: list[tuple[str, str]]) -> None:
    for method, path in routes:
        for headers in ({"Host": HOSTS[0]}, {"Origin": ORIGINS[0]}, {"Sec-Fetch-Site": SITES[0]}):
            assert _sent(untouched_app, method, _other(path), headers).status_code in (400, 403), path
        answer = untouched_app.test_client().open(
            _other(path), method=method, data="[]", content_type="text/html"
        )
        assert answer.status_code == 415, path


@pytest.mark.parametrize("host", HOSTS)
def test_a_foreign_host_name_changes_nothing(
    untouched_app: Flask, routes: list[tuple[str, str]], host: str
) -> None:
    for method, path in routes:
        answer = _sent(untouched_app, method, path, {"Host": host})
        assert answer.status_code in (400, 403), (method, path)
        assert answer.json["success"] is False


def test_a_missing_host_name_changes_nothing(untouched_app: Flask, routes: list[tuple[str, str]]) -> None:
    for method, path in routes:
        answer = untouched_app.test_client().open(
            path, method=method, json=[], environ_overrides={"HTTP_HOST": ""}
        )
        assert answer.status_code == 400


@pytest.mark.parametrize("host", HOSTS)
def test_a_foreign_host_name_reads_nothing(untouched_app: Flask, host: str) -> None:
    assert untouched_app.test_client().get("/models", headers={"Host": host}).status_code in (400, 403)


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_foreign_page_changes_nothing(
    untouched_app: Flask, routes: list[tuple[str, str]], origin: str
) -> None:
    for method, path in routes:
        assert _sent(untouched_app, method, path, {"Origin": origin}).status_code == 403, (method, path)


@pytest.mark.parametrize("site", SITES)
def test_a_foreign_site_changes_nothing(
    untouched_app: Flask, routes: list[tuple[str, str]], site: str
) -> None:
    for method, path in routes:
        assert _sent(untouched_app, method, path, {"Sec-Fetch-Site": site}).status_code == 403, (method, path)


@pytest.mark.parametrize("content_type", TYPES)
def test_only_json_is_read(untouched_app: Flask, routes: list[tuple[str, str]], content_type: str) -> None:
    for method, path in routes:
        if content_type.partition(";")[0] not in _accepted(untouched_app, method, path):
            answer = _sent(untouched_app, method, path, {"Content-Type": content_type})
            assert answer.status_code == 415, (method, path)


def test_a_packed_body_is_not_unpacked(untouched_app: Flask, routes: list[tuple[str, str]]) -> None:
    for method, path in routes:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert _sent(untouched_app, method, path, headers).status_code == 415, (method, path)


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_get_stays_a_get(trained: FlaskClient, header: str) -> None:
    name = trained.get("/train/backups").get_json()["backups"][0]["name"]
    assert trained.get(f"/train/backups/{name}", headers={header: "DELETE"}).status_code == 200
    assert trained.get(f"/train/backups/{name}?_method=DELETE").status_code in (200, 422)
    assert trained.get(f"/train/backups/{name}").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-Host"])
def test_a_forwarded_host_name_counts_for_nothing(trained: FlaskClient, header: str) -> None:
    assert trained.get("/models", headers={header: "evil.com"}).status_code == 200
    refused = trained.get("/models", headers={"Host": "evil.com", header: "localhost"})
    assert refused.status_code == 403


def test_a_preflight_is_told_nothing(untouched_app: Flask, routes: list[tuple[str, str]]) -> None:
    asked = {"Origin": "https://evil.com", "Access-Control-Request-Method": "POST"}
    for _, path in routes:
        answer = untouched_app.test_client().options(path, headers=asked)
        assert not [name for name in dict(answer.headers) if name.startswith("Access-Control-")]


OUR_OWN = [
    {},
    {"Origin": "http://localhost"},
    {"Host": "localhost:5000", "Origin": "http://localhost:5000"},
    {"Host": "127.0.0.1:5000"},
    {"Host": "[::1]:5000", "Origin": "http://[::1]:5000"},
    {"Host": "LOCALHOST:5000"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Content-Type": "application/json; charset=utf-8"},
    {"Content-Type": "APPLICATION/JSON"},
]


@pytest.mark.parametrize("headers", OUR_OWN, ids=str)
def test_our_own_pages_and_plain_clients_come_in(trained: FlaskClient, headers: dict[str, str]) -> None:
    asked = {"Content-Type": "application/json", **headers}
    assert trained.post("/predict/toy/default", data=b'[{"x": 1}]', headers=asked).status_code == 200


def test_a_post_without_a_body_needs_no_content_type(trained: FlaskClient) -> None:
    assert trained.post("/train/reload").status_code == 200


def test_named_hosts_are_answered(tmp_path: Path) -> None:
    for app in open_app(settings_in(tmp_path, allowed_hosts=("Plant.example", "10.0.0.7"))):
        answers = [
            app.test_client().get("/health/live", headers={"Host": host}).status_code
            for host in ("plant.example", "PLANT.EXAMPLE:443", "10.0.0.7", "other.example")
        ]
        assert answers == [200, 200, 200, 403]


def test_a_server_on_every_address_answers_to_addresses_but_not_to_foreign_names(tmp_path: Path) -> None:
    for app in open_app(settings_in(tmp_path, host="0.0.0.0")):
        answers = [
            app.test_client().get("/health/live", headers={"Host": host}).status_code
            for host in ("192.168.1.5:5000", "[fe80::1]", "evil.com")
        ]
        assert answers == [200, 200, 403]


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest.mark.parametrize(
    "path", ["/health", "/docs", "/docs/docs.js", "/nothing/here", "/models", "/metrics"]
)
def test_every_answer_carries_the_security_headers(trained: FlaskClient, path: str) -> None:
    headers = trained.get(path).headers
    assert {name: headers.get(name) for name in HEADERS} == HEADERS
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "Server" not in headers or "werkzeug" not in headers["Server"].lower()


def test_a_rate_limit_is_told_and_kept(tmp_path: Path) -> None:
    for app in open_app(settings_in(tmp_path, rate_limit=5)):
        client = app.test_client()
        answers = [client.get("/models") for _ in range(12)]
        assert {answer.status_code for answer in answers} == {200, 429}
        refused = answers[-1]
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.get_json()["code"] == "too_many_requests"
        assert client.get("/health/live").status_code == 200


def test_invented_keys_do_not_walk_round_the_rate_limit(tmp_path: Path) -> None:
    for app in open_app(settings_in(tmp_path, rate_limit=5)):
        client = app.test_client()
        invented = [{"X-API-Key": f"mw_{number}"} for number in range(12)]
        answers = [client.get("/models", headers=header).status_code for header in invented]
        assert (answers[0], answers[-1]) == (401, 429)
        keys = app.extensions["millwright"].keys
        known = {"X-API-Key": keys.create("read")[0]}
        assert client.get("/models", headers=known).status_code == 200, "others' guesses are not its own"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.8.9.1", True), ("0.0.0.0", False),
     ("::", False), ("192.168.1.2", False), ("example.com", False), ("", False)],
)  # fmt: skip
def test_loopback_addresses_are_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def _accepted(app: Flask, method: str, path: str) -> set[str]:
    """Return what else than JSON this route reads; a wrong charset is wrong everywhere."""
    endpoint, _ = app.url_map.bind("localhost").match(path, method)
    return set(access_policy_of(app.view_functions[endpoint]).content_types) - {"application/json"}


def _sent(app: Flask, method: str, path: str, headers: dict[str, str]) -> TestResponse:
    sent = {"Content-Type": "application/json", **headers}
    return app.test_client().open(path, method=method, data=b"[]", headers=sent)
