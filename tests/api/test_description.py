"""/openapi.json is complete and true, and /docs shows it without a network."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.http.resource import access_policy_of
from api.pages.docs import PAGE


@pytest.fixture
def spec(trained: FlaskClient) -> dict[str, Any]:
    return dict(trained.get("/openapi.json").get_json())


def test_every_route_is_described_and_nothing_else(trained_app: Flask, spec: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in trained_app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    methods = ("get", "post", "put", "patch", "delete")
    described = {(path, name) for path, item in spec["paths"].items() for name in item if name in methods}
    assert routes == described


def test_every_operation_says_what_it_needs_and_answers(trained_app: Flask, spec: dict[str, Any]) -> None:
    for path, item in spec["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            where = f"{method} {path}"
            assert operation["summary"].endswith("."), where
            answers = operation["responses"]
            assert any(status.startswith(("2", "3")) for status in answers), where
            assert {"400", "403", "500", "503"} <= answers.keys(), where
            # The key of a sign-in comes in its form.
            takes_key = bool(operation["security"]) or where == "post /sign-in"
            assert ("401" in answers) == takes_key, where
            assert "404" in answers or "{" not in path, where
            if method != "get":
                assert {"409", "413", "415", "422"} <= answers.keys(), where


def test_state_changing_posts_offer_an_idempotency_key(trained_app: Flask, spec: dict[str, Any]) -> None:
    for path, item in spec["paths"].items():
        if "post" not in item or path.startswith("/predict"):
            continue
        # The form of a page redirects, so that a reload sends nothing again.
        if "application/x-www-form-urlencoded" in item["post"].get("requestBody", {}).get("content", {}):
            continue
        names = {parameter.get("name") for parameter in item["post"].get("parameters", [])}
        assert "Idempotency-Key" in names, path


def test_the_role_is_told(trained_app: Flask, spec: dict[str, Any]) -> None:
    for rule in trained_app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        access_policy = access_policy_of(trained_app.view_functions[rule.endpoint])
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert spec["paths"][path][method.lower()].get("x-role") == access_policy.role


def test_the_page_needs_no_network_and_no_inline_script(trained: FlaskClient) -> None:
    page = trained.get("/docs").get_data(as_text=True)
    assert re.findall(r"""(?:src|href)=["'](?!/)""", page) == []
    assert re.findall(r"<script(?![^>]*src=)", page) == []
    assert re.findall(r"\son\w+=|style=", page) == []
    files = re.findall(r'(?:src|href)="(/docs/[^"]+)"', page)
    assert len(files) == 4
    for file in files:
        assert trained.get(file).status_code == 200


def test_the_pages_policy_allows_no_inline_script_or_style(trained: FlaskClient) -> None:
    policy = trained.get("/docs").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert "style-src" not in policy


@pytest.mark.parametrize("file", sorted(path.name for path in PAGE.iterdir()))
def test_no_file_of_the_page_reaches_out(file: str) -> None:
    text = (PAGE / file).read_text(encoding="utf-8")
    text = text.replace("http://www.w3.org/2000/svg", "")  # a name, which nobody fetches
    assert "//" not in re.sub(r"^\s*//.*$|[^:]//\s.*$", "", text, flags=re.M)


def test_only_listed_files_of_the_page_are_served(trained: FlaskClient) -> None:
    assert trained.get("/docs/swagger-ui-bundle.js").mimetype == "text/javascript"
    assert trained.get("/docs/swagger-ui.css").mimetype == "text/css"
    assert trained.get("/docs/index.html").status_code == 404
    assert trained.get("/docs/swagger-ui-es-bundle.js").status_code == 404
