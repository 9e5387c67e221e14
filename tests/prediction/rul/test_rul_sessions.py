"""Remaining useful life through the whole house: a killed training goes on from where it was."""

from __future__ import annotations

import os
import signal
import time

import pytest

from app import create_app
from prediction.contract import ModelKey
from settings import Settings
from tests.prediction.forecasting.test_forecasting_sessions import (
    child_at_work,
    epochs_of,
    has_gone,
    wait_for_epochs,
)
from tests.prediction.rul.conftest import SMALL, fill_fleet

KEY = ModelKey("rul", "pumps")


@pytest.fixture
def manager(tmp_path):
    made = create_app(Settings(home=tmp_path, sentence_model="none", demo_data=False, grace_seconds=1))
    found = made.extensions["millwright"]
    fill_fleet(found.storage.database)
    yield found
    found.close()
    found.storage.database.close()


def test_a_killed_training_goes_on_from_its_last_epoch_until_it_is_cancelled(manager, tmp_path):
    options = {**SMALL, "epochs": 10_000, "early_stopping_patience": 0}
    session = manager.train(KEY, None, options, wait=False).session
    kept = tmp_path / "data" / "cache" / "checkpoints"
    deadline = time.monotonic() + 240
    while not list(kept.glob("*.safetensors")) or len(epochs_of(manager, session.id)) < 3:
        assert time.monotonic() < deadline
        assert not manager.sessions.get(session.id).has_ended, manager.sessions.get(session.id)
        time.sleep(0.05)
    os.kill(child_at_work(tmp_path), signal.SIGKILL)
    while not manager.sessions.get(session.id).has_ended:
        time.sleep(0.05)
    assert manager.sessions.get(session.id).state == "interrupted"

    again = manager.retry(session.id, "default", wait=False).session
    wait_for_epochs(manager, again.id)
    assert epochs_of(manager, again.id)[0]["epoch"] > 1
    child = child_at_work(tmp_path)
    assert manager.cancel(again.id, "default").state == "cancelled"
    assert has_gone(child)
