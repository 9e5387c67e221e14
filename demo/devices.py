"""Pumps of an invented plant with hourly telemetry: twenty have failed, three are still running."""

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
NUM_FAILED, NUM_RUNNING = 20, 3
_HOUR_MICROSECONDS = 3_600_000_000
_WEAR_HOURS = 70
_COMPONENTS = ("bearing", "seal", "impeller")


def install_demo_devices(database: Database) -> bool:
    """Insert the pumps with telemetry up to the last hour; return False where any device exists."""
    telemetry, failures = Telemetry(database), Failures(database)
    if telemetry.devices(TENANT):
        return False
    rng = np.random.default_rng(SEED)
    # The failures follow twenty minutes later and must not lie in the future.
    end = utc_now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    for number in range(1, NUM_FAILED + NUM_RUNNING + 1):
        life = int(rng.integers(120, 220))
        age = life if number <= NUM_FAILED else life - int(rng.integers(5, 60))
        device = f"PUMP-{number:02d}"
        telemetry.ingest(TENANT, _generate_telemetry(device, to_microseconds(end), life, age, rng))
        if age == life:
            failure: FailureEvent = {
                "device_id": device,
                "event_time": end + timedelta(minutes=20),
                "event_type": "failure",
                "component_failed": _COMPONENTS[number % len(_COMPONENTS)],
                "operating_hours_at_failure": float(life),
            }
            failures.ingest(TENANT, [failure])
    return True


def _generate_telemetry(
    device: str, end: int, life: int, age: int, rng: np.random.Generator
) -> TelemetryRows:
    """Return the first ``age`` hours of a pump that wears out over the last seventy hours of its life."""
    hours = np.arange(age)
    wear = np.clip(1 - (life - hours) / _WEAR_HOURS, 0, None) ** 1.5
    rhythm = np.sin(2 * np.pi * hours / 24)
    channels = {
        "current_mean": 11 + 0.4 * rhythm + 1.5 * wear + rng.normal(0, 0.2, age),
        "vibration_x_mean": 2.2 + 2.0 * wear + rng.normal(0, 0.15, age),
        "vibration_y_mean": 2.0 + 1.6 * wear + rng.normal(0, 0.15, age),
        "vibration_z_mean": 1.4 + 0.9 * wear + rng.normal(0, 0.15, age),
        "temperature_mean": 61 + 1.5 * rhythm + 9 * wear + rng.normal(0, 0.6, age),
    }
    times = (end - _HOUR_MICROSECONDS * (age - 1 - hours)).tolist()
    table = np.stack(list(channels.values()), axis=1).round(4).tolist()
    return TelemetryRows([device] * age, times, [dict(zip(channels, row, strict=True)) for row in table])
