"""Ticks: each exactly once, whichever process leads and however many die."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from settings import PROJECT
from storage.db.database import Database
from storage.db.scheduler_runs import RetrainDecision, RetrainDecisions, SchedulerRuns
from storage.sensors.readings import from_microseconds
from tests.waiting import eventually
from training.monitoring.scheduler import Scheduler, leader_lock, tick_of

PERIOD, HOURLY = timedelta(hours=24), timedelta(hours=1)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICKS = int(os.environ.get("TEST_TICKS", "200"))
KILL_EVERY = 25


@pytest.fixture
def database(tmp_path):
    made = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
    made.migrate()
    yield made
    made.close()


class Plant:
    """A clock to turn, and what was looked at."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self.database = folder, database
        self.now = START
        self.looked: list[str] = []

    def clockwork(self, look=None) -> Scheduler:
        looks = SchedulerRuns(self.database)
        return Scheduler(
            leader_lock(self.folder), looks, PERIOD, look or self.looked.append, lambda: self.now
        )


@pytest.fixture
def plant(tmp_path, database):
    return Plant(tmp_path / "run", database)


def test_ticks_come_once_a_period_and_not_at_the_first_start(plant):
    clock = plant.clockwork()
    for hour in range(100):
        plant.now = START + timedelta(hours=hour)
        clock.run_pending()
    assert [name[:16] for name in plant.looked] == [f"2026-03-0{day}T00:00" for day in range(2, 6)]
    clock.stop()


def test_ticks_that_nobody_saw_are_made_up_for_once(plant):
    for days in (0, 9):
        clock = plant.clockwork()
        plant.now = START + timedelta(days=days)
        assert clock.run_pending() == (days == 9)
        clock.stop()
    assert plant.looked == ["2026-03-10T00:00:00.000000Z"]


def test_only_one_leads_and_another_takes_over(plant):
    first, second = plant.clockwork(), plant.clockwork()
    first.run_pending()
    plant.now += PERIOD
    assert not second.run_pending()
    assert first.run_pending()
    first.stop()
    assert not second.run_pending(), "that tick is done"
    plant.now += PERIOD
    assert second.run_pending()
    second.stop()


def test_a_look_that_fails_is_tried_again(plant):
    def fails(name: str) -> None:
        plant.looked.append(name)
        raise RuntimeError("the first time")

    clock = plant.clockwork()
    clock.run_pending()
    plant.now += PERIOD
    broken = plant.clockwork(fails)
    clock.stop()
    with pytest.raises(RuntimeError):
        broken.run_pending()
    broken.stop()
    assert clock.run_pending()
    assert len(plant.looked) == 2
    assert len(set(plant.looked)) == 1
    clock.stop()


def test_the_thread_ends_when_it_is_told_to(plant):
    stopping = threading.Event()
    thread = threading.Thread(target=plant.clockwork().run, args=(stopping, 0.01))
    thread.start()
    stopping.set()
    thread.join()
    assert leader_lock(plant.folder).acquire()
    leader_lock(plant.folder).release()


def test_ticks_are_the_same_in_every_time_zone():
    east = START.astimezone(__import__("zoneinfo").ZoneInfo("Asia/Tokyo"))
    assert tick_of(east, PERIOD) == tick_of(START, PERIOD)
    assert from_microseconds(tick_of(START, PERIOD)) == datetime(2026, 3, 1, tzinfo=UTC)


WORKER = """
import sys
from datetime import timedelta
from pathlib import Path
from tests.training.monitoring.test_scheduler import worker
worker(Path(sys.argv[1]))
"""


def worker(home: Path) -> None:
    """Return a process of a server whose clock is a file; a look decides about one model and signs for it."""
    database = Database(f"sqlite:///{home / 'test.db'}", home / "run")
    decisions = RetrainDecisions(database)

    def look(name: str) -> None:
        decisions.add(RetrainDecision("plant", "rul", name[:10], name, START, "leave", [str(os.getpid())]))

    def clock() -> datetime:
        return START + HOURLY * int((home / "clock").read_text() or 0)

    clockwork = Scheduler(leader_lock(home / "run"), SchedulerRuns(database), HOURLY, look, clock)
    clockwork.run(threading.Event(), 0.001)


def test_many_ticks_and_four_processes_of_which_the_leader_is_killed_again_and_again(tmp_path, database):
    """The promise G18: as many looks as ticks, none twice, none left out, whoever dies."""

    def turn(tick: int) -> None:
        file = tmp_path / "clock.new"
        file.write_text(str(tick))
        file.replace(tmp_path / "clock")

    def start_process() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], cwd=PROJECT)

    def count_ended() -> int:
        ended = "SELECT count(*) FROM scheduler_runs WHERE ended_at IS NOT NULL"
        return int(table.execute(ended).fetchone()[0])

    turn(0)
    table = sqlite3.connect(tmp_path / "test.db", timeout=60, isolation_level=None)
    workers = {one.pid: one for one in (start_process() for _ in range(4))}
    killed = 0
    try:
        eventually(lambda: table.execute("SELECT count(*) FROM scheduler_runs").fetchone()[0] == 1)
        for tick in range(1, TICKS + 1):
            turn(tick)
            # After the last tick no successor of a killed leader would leave a trace.
            if tick % KILL_EVERY == 0 and tick < TICKS:
                last = table.execute("SELECT reasons FROM training_decisions ORDER BY id DESC").fetchone()[0]
                leader = workers.pop(int(last.strip('[]"')))
                leader.send_signal(signal.SIGKILL)
                leader.wait()
                killed += 1
                one = start_process()
                workers[one.pid] = one
            eventually(lambda: count_ended() == tick + 1)  # noqa: B023
        time.sleep(0.2)
    finally:
        for one in workers.values():
            one.kill()
            one.wait()
    count, names = table.execute("SELECT count(*), count(DISTINCT run_id) FROM training_decisions").fetchone()
    assert (count, names) == (TICKS, TICKS)
    pids = table.execute("SELECT count(DISTINCT reasons) FROM training_decisions").fetchone()[0]
    assert pids == killed + 1
