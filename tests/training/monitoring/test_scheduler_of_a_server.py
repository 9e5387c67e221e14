"""A server looks after its models by itself, and a killed leader is replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from settings import Settings
from storage.container import open_storage
from storage.db.scheduler_runs import SchedulerRuns
from tests.live_server import live_server
from tests.waiting import MAX_WAIT_SECONDS, eventually

SECOND_IN_HOURS = 1 / 3600


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    with live_server(
        tmp_path, monitoring_interval_hours=SECOND_IN_HOURS, demo_data=0, sentence_model="none"
    ) as address:
        yield address, tmp_path


def awaited(address: str, true) -> dict:
    told: list[dict] = [{}]

    def is_true() -> bool:
        answer = requests.get(f"{address}/api/monitoring", timeout=MAX_WAIT_SECONDS)
        told[0] = answer.json()["schedule"]
        return true(told[0])

    eventually(is_true, lambda: told[0])
    return told[0]


def test_a_worker_leads_looks_and_is_replaced_when_it_is_killed(server):
    address, home = server
    first = awaited(address, lambda told: told["leader"] and told["last_run_at"])
    assert first["interval_hours"] == pytest.approx(SECOND_IN_HOURS)
    later = awaited(address, lambda told: told["last_run_at"] > first["last_run_at"])
    storage = open_storage(Settings(home=home))
    (worker,) = storage.workers.list_live()
    os.kill(worker.pid, signal.SIGKILL)
    looks = SchedulerRuns(storage.database)
    eventually(lambda: looks.last().started_at.isoformat() > later["last_run_at"])
    storage.close()
