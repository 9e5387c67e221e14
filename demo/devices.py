"""Pumps of an invented plant: twenty that have failed, three that still run, an hour a row."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from storage.db.database import Database
from storage.db.tables import utc_now
from storage.devices.failures import FailureEvent, Failures
from storage.devices.telemetry import Telemetry, TelemetryRows
from storage.sensors.readings import to_microseconds

TENANT = "default"
SEED = 20_260
FAILED, RUNNING = 20, 3
_HOUR = 3_600_000_000
_WEAR_HOURS = 70
_COMPONENTS = ("bearing", "seal", "impeller")


def install_demo_devices(database: Database) -> bool:
    """Put the pumps in place, with telemetry up to the hour before this one; not where any device is.

    Returns
    -------
    bool
        Whether they were put there.
    """
    telemetry, failures = Telemetry(database), Failures(database)
    if telemetry.devices(TENANT):
        return False
    chance = np.random.default_rng(SEED)
    end = utc_now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)  # failures follow it
    for number in range(1, FAILED + RUNNING + 1):
        life = int(chance.integers(120, 220))
        lived = life if number <= FAILED else life - int(chance.integers(5, 60))
        samples = _said(f"PUMP-{number:02d}", to_microseconds(end), life, lived, chance)
        telemetry.ingest(TENANT, samples)
        if lived == life:
            component = _COMPONENTS[number % len(_COMPONENTS)]
            event: FailureEvent = {
                "device_id": samples.devices[0],
                "event_time": end + timedelta(minutes=20),
                "event_type": "failure",
                "component_failed": component,
                "operating_hours_at_failure": float(life),
            }
            failures.ingest(TENANT, [event])
    return True


def _said(device: str, end: int, life: int, lived: int, chance: np.random.Generator) -> TelemetryRows:
    """The first ``lived`` hours of a pump that wears out over its last seventy."""
    hours = np.arange(lived)
    worn = np.clip(1 - (life - hours) / _WEAR_HOURS, 0, None) ** 1.5
    rhythm = np.sin(2 * np.pi * hours / 24)
    channels = {
        "current_mean": 11 + 0.4 * rhythm + 1.5 * worn + chance.normal(0, 0.2, lived),
        "vibration_x_mean": 2.2 + 2.0 * worn + chance.normal(0, 0.15, lived),
        "vibration_y_mean": 2.0 + 1.6 * worn + chance.normal(0, 0.15, lived),
        "vibration_z_mean": 1.4 + 0.9 * worn + chance.normal(0, 0.15, lived),
        "temperature_mean": 61 + 1.5 * rhythm + 9 * worn + chance.normal(0, 0.6, lived),
    }
    times = (end - _HOUR * (lived - 1 - hours)).tolist()
    table = np.stack(list(channels.values()), axis=1).round(4).tolist()
    return TelemetryRows([device] * lived, times, [dict(zip(channels, row, strict=True)) for row in table])
