"""A client that a generator writes from /openapi.json works against the server."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from flask import Flask

NAME = "generated_millwright"
CONFIGURATION = {
    # Text bodies are given as text: the generator knows JSON and forms only.
    "content_type_overrides": {"application/x-ndjson": "text/plain", "text/csv": "text/plain"},
    "post_hooks": [],
}


@pytest.fixture(scope="module")
def generated(trained_app: Flask, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """Return the generated package, and fail where the generator leaves an operation out."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_bytes(trained_app.test_client().get("/openapi.json").data)
    (folder / "configuration.json").write_text(json.dumps(CONFIGURATION))
    generator = Path(sys.executable).with_name("openapi-python-client")
    paths = ("--path", "openapi.json", "--config", "configuration.json", "--output-path", NAME)
    done = subprocess.run(
        [generator, "generate", *paths, "--meta", "none"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "will not be generated" not in done.stdout + done.stderr, done.stderr
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(folder))
        yield importlib.import_module(NAME)


@pytest.fixture
def api(generated: ModuleType, trained_app: Flask) -> Any:
    transport = httpx.WSGITransport(app=trained_app)
    return generated.Client("http://localhost", httpx_args={"transport": transport})


def operation(name: str) -> ModuleType:
    return importlib.import_module(f"{NAME}.api.{name}")


def model(name: str) -> Any:
    return getattr(importlib.import_module(f"{NAME}.models"), name)


def test_a_sensor_is_created_and_listed(api: Any) -> None:
    body = model("SensorBody").from_dict({"name": "Bearing 4", "type": "Vibration"})
    created = operation("sensors.create_sensor").sync(client=api, body=body)
    listed = operation("sensors.list_sensors").sync(client=api)
    assert created.id in [sensor.id for sensor in listed.results]


def test_a_flag_of_a_query_is_a_boolean(api: Any) -> None:
    readings = model("ReadingBody").from_dict(
        {"sensor_id": 1, "raw_value": 2.0, "timestamp": "2026-01-05T10:00:00Z"}
    )
    stored = operation("readings.create_readings").sync_detailed(
        client=api, body=readings, detect=False, skip_invalid=True
    )
    assert stored.status_code == 201, stored.content


def test_sessions_and_models_are_read(api: Any) -> None:
    sessions = operation("sessions.list_sessions").sync(client=api)
    assert sessions.results[0].state == "completed"
    models = operation("models.list_models").sync(client=api)
    assert "toy" in {found.family for found in models.results}


def test_an_error_is_parsed(api: Any) -> None:
    answer = operation("sessions.get_session").sync(client=api, session_id=9_999)
    assert answer.code == "not_found"
