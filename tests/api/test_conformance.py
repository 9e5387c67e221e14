"""A fuzzer that has read /openapi.json finds no answer that is not promised there."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from flask import Flask

from api.training import backups
from storage.filesystem.locks import training_lock
from tests.api.conformance import problems_of
from tests.api.conftest import TOY, open_app, settings_in
from tests.toy_family import records

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "15"))
OURS = "/(train(?!ings)|predict|models|health|metrics|docs|openapi)"
CONFIG = {
    "phases": {"stateful": {"generation": {"max-examples": 3}}},
    "operations": [
        {
            # which records a family takes, and which of them are already taken, no schema can say
            "include-path": ["/train/{family}/{name}", "/predict/{family}/{name}"],
            "checks": {"positive_data_acceptance": {"enabled": False}},
        }
    ],
}


@pytest.fixture(scope="module")
def busy_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Return a server with a champion, whose models are being trained: requests are checked, nothing is trained."""
    for app in open_app(settings_in(tmp_path_factory.mktemp("busy"))):
        assert app.test_client().post(TOY, json=records(20)).status_code == 200
        run_dir = app.extensions["millwright"].storage.settings.run_dir
        locks = [training_lock(run_dir, f"default/{family}/default") for family in ("toy", "scoring")]
        for lock in locks:
            assert lock.acquire()
        yield app
        for lock in locks:
            lock.release()


def test_every_answer_is_as_described(busy_app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.session._LOCK_SECONDS", 0.0)
    problems = problems_of(busy_app, OURS, EXAMPLES, CONFIG)
    assert not problems, "\n\n".join(problems)


def test_a_false_description_is_noticed(monkeypatch: pytest.MonkeyPatch, busy_app: Flask) -> None:
    """The fuzzer itself works: told one type and given another, it objects."""
    told = backups.backup_to_dict
    monkeypatch.setattr(backups, "backup_to_dict", lambda *given: {**told(*given), "size_bytes": "large"})
    problems = problems_of(busy_app, "/train/backups$", 3)
    assert any("response_schema_conformance" in problem for problem in problems)
