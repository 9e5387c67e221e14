"""What waits for a tag is stored once, however many processes see that it is due."""

from __future__ import annotations

import numpy as np
import pytest

from storage.db.database import Database
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
from storage.sensors.waiting_readings import UnknownReadings, WaitingReadings


def test_readings_that_another_process_has_stored_meanwhile_are_none(
    database: Database, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    (number,) = sensors.create("default", [{"name": "Inlet", "type": "Flow", "tag": "TI-1"}])
    waiting = WaitingReadings(database)
    block = ReadingBlock(np.array([-1]), np.array([1_700_000_000_000_000]), np.array([4.5]))
    with database.write() as connection:
        waiting.add_with(connection, "default", UnknownReadings(["TI-1"], block))
    monkeypatch.setattr(
        WaitingReadings, "count", lambda *_: 1
    )  # what this process has seen before the other one
    assert [waiting.adopt("default", "TI-1", number) for _ in range(2)] == [1, 0]
    assert Readings(database).newest_values([number], 10)[number].tolist() == [4.5]
