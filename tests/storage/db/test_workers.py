"""The heartbeat shows the living workers and what each has loaded."""

import os

import pytest

from storage.db.workers import WebWorkers
from storage.filesystem import presence
from tests.storage.conftest import in_child


@pytest.fixture
def table(database, tmp_path):
    presence.join(tmp_path / "run")
    yield WebWorkers(database, tmp_path / "run")
    presence.leave(tmp_path / "run")


def test_a_beat_says_what_a_worker_has_loaded(table):
    table.heartbeat(3)
    table.heartbeat(4, {"default/toy/a": "v0007 is damaged", "other/toy/a": "v0001 is missing"})
    (worker,) = table.list_live()
    assert (worker.pid, worker.epoch) == (os.getpid(), 4)
    assert (worker.failure("other"), worker.failure("third")) == ("v0001 is missing", None)
    assert worker.failure() == "v0007 is damaged"


def test_a_dead_worker_is_not_live_and_can_be_forgotten(table, database):
    def beat():
        database.engine.dispose(close=False)  # its connections are the parent's
        table.heartbeat(1)
        assert sorted(worker.epoch for worker in table.list_live()) == [1, 2]

    table.heartbeat(2)
    assert in_child(beat) == 0
    assert [worker.epoch for worker in table.list_live()] == [2]
    assert table.delete_dead() == 1
    assert table.delete_dead() == 0
    assert len(table.list_live()) == 1
