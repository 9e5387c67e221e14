"""A server looks after its models by itself, and a killed leader is replaced."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from settings import Settings
from storage.container import open_storage
from storage.db.scheduler_runs import SchedulerRuns
from tests.live_server import live_server

SECOND_IN_HOURS = 1 / 3600


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    with live_server(
        tmp_path, monitoring_interval_hours=SECOND_IN_HOURS, demo_data=0, sentence_model="none"
    ) as address:
        yield address, tmp_path


def awaited(address: str, true) -> dict:
    deadline = time.monotonic() + 30
    while True:
        told = requests.get(f"{address}/api/monitoring", timeout=10).json()["schedule"]
        if true(told):
            return told
        assert time.monotonic() < deadline, told
        time.sleep(0.05)


def test_a_worker_leads_looks_and_is_replaced_when_it_is_killed(server):
    address, home = server
    first = awaited(address, lambda told: told["leader"] and told["last_run_at"])
    assert first["interval_hours"] == pytest.approx(SECOND_IN_HOURS)
    later = awaited(address, lambda told: told["last_run_at"] > first["last_run_at"])
    storage = open_storage(Settings(home=home))
    (worker,) = storage.workers.list_live()
    os.kill(worker.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    looks = SchedulerRuns(storage.database)
    while looks.last().started_at.isoformat() <= later["last_run_at"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    storage.close()
