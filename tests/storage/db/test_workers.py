"""The heartbeat shows the living workers and what each has loaded."""

import os
import subprocess

import pytest

from storage.db.workers import WebWorkers
from storage.filesystem import process_identity


@pytest.fixture
def table(database):
    return WebWorkers(database)


def test_a_beat_says_what_a_worker_has_loaded(table):
    table.heartbeat(os.getpid(), process_identity.own_start_time(), 3)
    table.heartbeat(os.getpid(), process_identity.own_start_time(), 4, error="v0007 is damaged")
    assert [(found.pid, found.epoch, found.error) for found in table.list_live()] == [
        (os.getpid(), 4, "v0007 is damaged")
    ]


def test_a_dead_worker_is_not_live_and_can_be_forgotten(table):
    child = subprocess.Popen(["sleep", "60"])
    table.heartbeat(child.pid, process_identity.start_time(child.pid), 1)
    table.heartbeat(
        os.getpid(), process_identity.own_start_time() + 1, 1
    )  # an earlier process of this number
    table.heartbeat(os.getpid(), process_identity.own_start_time(), 2)
    assert [found.epoch for found in table.list_live()] == [1, 2] or [
        found.epoch for found in table.list_live()
    ] == [
        2,
        1,
    ]
    child.kill()
    child.wait()
    assert [found.epoch for found in table.list_live()] == [2]
    assert table.delete_dead() == 2
    assert table.delete_dead() == 0
    assert len(table.list_live()) == 1
