"""The heartbeat shows the living workers and what each has loaded."""

import os
import subprocess

import pytest

from storage import processes
from storage.workers import Workers


@pytest.fixture
def table(database):
    return Workers(database)


def test_a_beat_says_what_a_worker_has_loaded(table):
    table.beat(os.getpid(), processes.own_start(), 3)
    table.beat(os.getpid(), processes.own_start(), 4, error="v0007 is damaged")
    assert [(found.pid, found.epoch, found.error) for found in table.live()] == [
        (os.getpid(), 4, "v0007 is damaged")
    ]


def test_a_dead_worker_is_not_live_and_can_be_forgotten(table):
    child = subprocess.Popen(["sleep", "60"])
    table.beat(child.pid, processes.started(child.pid), 1)
    table.beat(os.getpid(), processes.own_start() + 1, 1)  # an earlier process of this number
    table.beat(os.getpid(), processes.own_start(), 2)
    assert [found.epoch for found in table.live()] == [1, 2] or [found.epoch for found in table.live()] == [
        2,
        1,
    ]
    child.kill()
    child.wait()
    assert [found.epoch for found in table.live()] == [2]
    assert table.forget_dead() == 2
    assert table.forget_dead() == 0
    assert len(table.live()) == 1
