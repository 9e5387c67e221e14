"""Seven sensors of an invented plant with thirty days of readings, under the old platform's ids."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from storage.db.database import Database
from storage.db.tables import utc_now
from storage.sensors.calibrations import SOURCE_MANUAL, Calibrations
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings, to_microseconds
from storage.sensors.sensors import Sensors

TENANT = "default"
SEED = 20_260
DAYS = 30
STEP = timedelta(minutes=15)
CALIBRATED = 13
_COLUMNS = ("id", "name", "type", "unit", "nominal_value", "min_value", "max_value")
_SENSORS = (
    (13, "Cooling Tank Pressure", "Pressure", "bar", 4.0, 0.0, 8.0),
    (14, "Humidity Chamber Sensor", "Humidity", "%", 55.0, 0.0, 100.0),
    (15, "Conveyor Vibration Sensor", "Vibration", "mm/s", 2.5, 0.0, 20.0),
    (17, "Reactor Temp Sensor", "Temperature", "°C", 180.0, 0.0, 300.0),
    (18, "Compressor Pressure Sensor", "Pressure", "bar", 7.5, 0.0, 12.0),
    (19, "Warehouse Humidity Sensor", "Humidity", "%", 45.0, 0.0, 100.0),
    (20, "Motor Vibration Sensor", "Vibration", "mm/s", 3.0, 0.0, 20.0),
)


def install_demo_sensors(database: Database) -> bool:
    """Put the seven sensors in place, with readings up to this quarter of an hour; not where any sensor is.

    Returns
    -------
    bool
        Whether they were put there.
    """
    sensors, readings = Sensors(database), Readings(database)
    if sensors.ids(TENANT):
        return False
    sensors.plant(TENANT, [dict(zip(_COLUMNS, row, strict=True)) for row in _SENSORS])
    start = _quarter(utc_now()) - timedelta(days=DAYS)
    for number, row in enumerate(_SENSORS):
        block = _said(int(row[0]), float(row[4]), start, number)
        readings.ingest(TENANT, block)
        if row[0] == CALIBRATED:
            Calibrations(database).insert(TENANT, _calibrations(block, start))
    return True


def _quarter(moment: datetime) -> datetime:
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def _said(sensor_id: int, nominal: float, start: datetime, number: int) -> ReadingBlock:
    """A daily rhythm, noise, a slow drift, and for every third sensor two spikes."""
    chance = np.random.default_rng(SEED + number)
    count = int(timedelta(days=DAYS) / STEP)
    days = np.arange(count) * (STEP / timedelta(days=1))
    rhythm = 0.03 * np.sin(2 * np.pi * (days + chance.random()))
    drift = 0.001 * (number % 3) * days
    values = nominal * (1 + rhythm + drift + chance.normal(0, 0.008, count))
    if number % 3 == 0:
        values[chance.integers(count // 3, 2 * count // 3, 2)] *= 1.5
    times = to_microseconds(start) + np.arange(count) * int(STEP.total_seconds() * 1e6)
    return ReadingBlock(np.full(count, sensor_id), times, values.round(4))


def _calibrations(block: ReadingBlock, start: datetime) -> list[dict[str, Any]]:
    """Ten calibrations, three days apart: the sensor reads two per cent low."""
    chance = np.random.default_rng(SEED)
    every = int(timedelta(days=3) / STEP)
    return [
        {
            "sensor_id": CALIBRATED,
            "method": "linear",
            "params": {"slope": 1.02, "intercept": 0.0},
            "corrected_value": round(
                float(block.values[at - 3 : at].mean()) * 1.02 + float(chance.normal(0, 0.005)), 4
            ),
            "applied_at": start + at * STEP - timedelta(minutes=5),
            "source": SOURCE_MANUAL,
        }
        for at in range(every // 2, len(block), every)
    ]
