"""The real application over a fresh home, with a toy family that trains in a tenth of a second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from prediction import registry
from settings import Settings
from tests import toy_family

TOY = "/train/toy/default"


@pytest.fixture(scope="module", autouse=True)
def toy() -> Iterator[None]:
    """Register the toy family only, so that no process is warmed up for another."""
    cold = {name: replace(entry, is_preloaded=False) for name, entry in registry.FAMILIES.items()}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(registry, "FAMILIES", {**cold, "toy": toy_family.ENTRY})
        yield


IN_CHILD_PROCESSES = pytest.mark.parametrize("executor", ["local"])
"""For tests in which the process that trains dies; the others train without one, which is ten times as fast."""


def settings_in(home: Path, **changes: Any) -> Settings:
    quick = {"demo_data": False, "sentence_model": "none", "shutdown_grace_seconds": 1}
    return Settings(home=home, **{**quick, "executor": "in-process", **changes})


def open_app(settings: Settings) -> Iterator[Flask]:
    """Return an application that is closed in the end."""
    app = create_app(settings)
    app.testing = True
    yield app
    app.extensions["millwright"].close()
    app.extensions["millwright"].close_storage()


@pytest.fixture
def executor() -> str:
    return "in-process"


@pytest.fixture
def app(tmp_path: Path, executor: str) -> Iterator[Flask]:
    """Return an application over an empty home."""
    yield from open_app(settings_in(tmp_path, executor=executor))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="module")
def trained_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Return an application with a trained toy model and a backup; its tests must leave it usable."""
    for app in open_app(settings_in(tmp_path_factory.mktemp("trained"))):
        client = app.test_client()
        assert client.post(TOY, json=toy_family.records(20)).status_code == 200
        assert client.post("/train/backups").status_code == 201
        yield app


@pytest.fixture
def trained(trained_app: Flask) -> FlaskClient:
    return trained_app.test_client()
