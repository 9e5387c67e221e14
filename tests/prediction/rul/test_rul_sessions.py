"""Remaining useful life through the whole house: a killed training goes on from where it was."""

from __future__ import annotations

import pytest

from app import create_app
from prediction.contract import ModelKey
from settings import Settings
from tests.prediction.killed_trainings import goes_on_and_is_cancelled, killed_in_its_epochs
from tests.prediction.rul.conftest import SMALL, fill_fleet

KEY = ModelKey("rul", "pumps")


@pytest.fixture
def manager(tmp_path):
    made = create_app(
        Settings(home=tmp_path, sentence_model="none", demo_data=False, shutdown_grace_seconds=1)
    )
    found = made.extensions["millwright"]
    fill_fleet(found.storage.database)
    yield found
    found.close()
    found.storage.database.close()


def test_a_killed_training_goes_on_from_its_last_epoch_until_it_is_cancelled(manager, tmp_path):
    options = {**SMALL, "epochs": 10_000, "early_stopping_patience": 0}
    killed = killed_in_its_epochs(manager, KEY, options, tmp_path)
    goes_on_and_is_cancelled(manager, killed, tmp_path)
