"""A body without a length (chunked) is held to the same limit: too much is 413, and nothing of it is stored."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder, TestResponse, run_wsgi_app

from tests.toy_family import records

LIMIT = 4_000


def send_chunked(app: Flask, path: str, body: bytes, content_type: str) -> TestResponse:
    """Send a body as a server passes it on that has read chunks: terminated, but without a length."""
    environ = EnvironBuilder(path=path, method="POST", content_type=content_type).get_environ()
    environ.pop("CONTENT_LENGTH", None)
    environ |= {
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
    }
    data, status, headers = run_wsgi_app(app.wsgi_app, environ, buffered=True)
    return TestResponse(data, status, headers, request=None)


@pytest.fixture
def limited(app: Flask) -> Flask:
    app.config["MAX_CONTENT_LENGTH"] = LIMIT
    return app


def as_json(count: int) -> bytes:
    return json.dumps(records(count)).encode()


def as_csv(count: int) -> bytes:
    rows = records(count)
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(("path", "encode", "content_type"), [
    ("/train/toy/default", as_json, "application/json"),
    ("/train/toy/default", as_csv, "text/csv"),
    ("/api/telemetry", as_csv, "text/csv"),
    ("/api/readings/", as_csv, "application/x-ndjson"),
    ("/predict/toy/default", as_csv, "text/csv"),
])  # fmt: skip
def test_too_much_is_refused_as_a_whole(limited: Flask, path: str, encode, content_type: str) -> None:
    body = encode(1_000)
    assert len(body) > LIMIT
    response = send_chunked(limited, path, body, content_type)
    assert (response.status_code, response.get_json()["code"]) == (413, "too_large")
    assert limited.test_client().get("/train/sessions").get_json()["results"] == []


def test_a_multipart_body_is_refused_as_a_whole(limited: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.datasets.MAX_ENVELOPE_BYTES", 0)
    limited.extensions["millwright"].datasets.max_bytes = LIMIT
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    body = head + as_csv(1_000) + b"\r\n--x--\r\n"
    response = send_chunked(limited, "/datasets", body, "multipart/form-data; boundary=x")
    assert (response.status_code, response.get_json()["code"]) == (413, "too_large")
    assert limited.test_client().get("/datasets").get_json()["results"] == []


def test_a_body_of_exactly_the_limit_is_read(app: Flask) -> None:
    body = as_json(10)
    app.config["MAX_CONTENT_LENGTH"] = len(body)
    assert send_chunked(app, "/train/toy/default?dry_run=1", body, "application/json").status_code == 200
