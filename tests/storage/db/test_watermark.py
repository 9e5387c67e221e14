"""A high-water mark on PostgreSQL, where a slow insert commits lower ids than a quick one beside it."""

import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa

from storage.db import watermark
from storage.devices.failures import Failures
from storage.devices.telemetry import Telemetry, TelemetryRows
from storage.sensors.calibrations import Calibrations
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors

AT = datetime(2024, 12, 5, 14, 30, tzinfo=UTC)
EVENT = {"device_id": "P-1", "event_time": AT, "event_type": "failure"}
WAYS = {
    Readings: lambda rows, sensor: rows.ingest(
        "plant", ReadingBlock(np.array([sensor]), np.array([1_000_000]), np.array([1.0]))
    ),
    Telemetry: lambda rows, sensor: rows.ingest("plant", TelemetryRows(["P-1"], [1_000_000], [{"oil": 1.0}])),
    Failures: lambda rows, sensor: rows.ingest("plant", [EVENT]),
    Calibrations: lambda rows, sensor: rows.insert("plant", [calibration(sensor)]),
}

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def calibration(sensor):
    return {
        "sensor_id": sensor,
        "method": "linear",
        "params": {},
        "corrected_value": 1.0,
        "applied_at": AT,
        "source": "manual",
    }


class Plant:
    """One table, and the way rows get into it."""

    def __init__(self, database, kind):
        self.rows = kind(database)
        sensors = Sensors(database).create("plant", [{"name": str(n), "type": "Flow"} for n in range(2)])
        self._sensors = iter(sensors)  # one each: an insert of readings also changes its sensor
        self._insert = WAYS[kind]

    def insert(self):
        self._insert(self.rows, next(self._sensors))

    def ids(self, up_to=2**62):
        column = self.rows.table.c.id
        with self.rows.database.read() as connection:
            return list(connection.execute(sa.select(column).where(column <= up_to)).scalars())

    @contextmanager
    def slow_insert(self):
        """Return a row that has its id and is committed when the block ends."""
        written, go_on = threading.Event(), threading.Event()

        def before_commit(connection):
            if threading.current_thread() is slow:
                written.set()
                go_on.wait(30)

        slow = threading.Thread(target=self.insert)
        sa.event.listen(self.rows.database.engine, "commit", before_commit)
        slow.start()
        try:
            assert written.wait(30)
            yield
        finally:
            go_on.set()
            slow.join()
            sa.event.remove(self.rows.database.engine, "commit", before_commit)


@pytest.fixture(params=WAYS, ids=lambda kind: kind.__name__)
def plant(database, request):
    return Plant(database, request.param)


def test_rows_up_to_a_mark_do_not_change_when_a_slow_insert_ends(plant, monkeypatch):
    monkeypatch.setattr(watermark, "_MAX_WAIT_S", 0.0)
    with plant.slow_insert():
        plant.insert()
        mark = plant.rows.get_watermark()
        seen = plant.ids(up_to=mark)
    assert plant.ids(up_to=mark) == seen
    assert len(plant.ids()) == 2
    assert plant.rows.get_watermark() == max(plant.ids())


def test_a_mark_waits_for_a_young_insert_so_that_what_was_stored_before_is_below_it(plant, monkeypatch):
    monkeypatch.setattr(watermark, "_MAX_WAIT_S", 60.0)
    marks = []
    with plant.slow_insert():
        plant.insert()
        asking = threading.Thread(target=lambda: marks.append(plant.rows.get_watermark()))
        asking.start()
        asking.join(0.2)
        assert marks == []
    asking.join(30)
    assert marks == [max(plant.ids())]


def test_an_insert_of_which_nothing_stored_depends_is_not_waited_for(plant, monkeypatch):
    monkeypatch.setattr(watermark, "_MAX_WAIT_S", 60.0)
    plant.insert()
    with plant.slow_insert():
        assert plant.rows.get_watermark() == max(plant.ids())
    assert len(plant.ids()) == 2


def test_nobody_is_kept_from_inserting_by_a_mark(plant, monkeypatch):
    monkeypatch.setattr(watermark, "_MAX_WAIT_S", 0.0)
    with plant.slow_insert():
        assert plant.rows.get_watermark() == 0
        plant.insert()
        assert plant.rows.get_watermark() == 0
