"""The pumps of the invented plant."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from demo.devices import install_demo_devices
from settings import Settings
from storage.container import open_storage
from storage.devices.failures import Failures
from storage.devices.telemetry import Telemetry
from storage.sensors.readings import to_microseconds


def test_everything_that_happened_to_the_pumps_is_over(tmp_path: Path) -> None:
    database = open_storage(Settings(home=tmp_path)).database
    database.migrate()
    assert install_demo_devices(database)
    now = to_microseconds(datetime.now(UTC))
    ends = Failures(database).run_ends("default")
    assert len(ends) == 20
    for device, mine in ends.items():
        span = Telemetry(database).span("default", device)
        assert span is not None and span[1] < mine[-1][0] <= now
    database.close()
