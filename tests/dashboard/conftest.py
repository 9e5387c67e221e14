"""One application with a trained toy model, keys of two roles and of a second tenant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.api.conftest import TOY, open_app, settings_in, toy  # noqa: F401
from tests.toy_family import records


@pytest.fixture(scope="module")
def open_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Return an application without keys."""
    yield from open_app(settings_in(tmp_path_factory.mktemp("open")))


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Return an application with one training and keys."""
    for app in open_app(settings_in(tmp_path_factory.mktemp("keyed"))):
        assert app.test_client().post(TOY, json=records(20)).status_code == 200
        keys = app.extensions["millwright"].keys
        app.secrets = {role: keys.create(role)[0] for role in ("read", "train")}  # type: ignore[attr-defined]
        app.secrets["stranger"] = keys.create("admin", tenant="other")[0]  # type: ignore[attr-defined]
        yield app
