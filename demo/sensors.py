"""Seven sensors of an invented plant with thirty days of readings, under the ids of the earlier platform."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from storage.db.database import Database
from storage.db.tables import utc_now
from storage.sensors.calibrations import SOURCE_MANUAL, Calibrations
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings, to_microseconds
from storage.sensors.sensors import Sensors

TENANT = "default"
SEED = 20_260
NUM_DAYS = 30
STEP = timedelta(minutes=15)
CALIBRATED_SENSOR = 13
_SLOPE, _INTERCEPT = 1.25, -0.92
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
    """Insert the sensors with readings up to this quarter of an hour; return False where any sensor exists."""
    sensors, readings = Sensors(database), Readings(database)
    if sensors.list_ids(TENANT):
        return False
    sensors.insert_with_ids(TENANT, [dict(zip(_COLUMNS, row, strict=True)) for row in _SENSORS])
    now = utc_now()
    quarter = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
    start = quarter - timedelta(days=NUM_DAYS)
    for number, (sensor_id, _, _, _, nominal, _, _) in enumerate(_SENSORS):
        block = _generate_readings(sensor_id, nominal, start, number)
        readings.ingest(TENANT, block)
        if sensor_id == CALIBRATED_SENSOR:
            Calibrations(database).insert(TENANT, _generate_calibrations(block, start))
    return True


def _generate_readings(sensor_id: int, nominal: float, start: datetime, number: int) -> ReadingBlock:
    """Return readings with a daily rhythm, noise, a slow drift, and two spikes for two of the sensors."""
    rng = np.random.default_rng(SEED + number)
    count = int(timedelta(days=NUM_DAYS) / STEP)
    days = np.arange(count) * (STEP / timedelta(days=1))
    rhythm = 0.03 * np.sin(2 * np.pi * (days + rng.random()))
    drift = 0.001 * (number % 3) * days
    values = nominal * (1 + rhythm + drift + rng.normal(0, 0.008, count))
    # The sensor of the guide's examples has none: a threshold above a spike would miss the faults of an evaluation.
    if number % 3 == 0 and sensor_id != CALIBRATED_SENSOR:
        values[rng.integers(count // 3, 2 * count // 3, 2)] *= 1.5
    times = to_microseconds(start) + np.arange(count) * int(STEP.total_seconds() * 1e6)
    return ReadingBlock(np.full(count, sensor_id), times, values.round(4))


def _generate_calibrations(block: ReadingBlock, start: datetime) -> list[dict[str, object]]:
    """Return ten calibrations, three days apart: the sensor reads two percent low, and its span is too small."""
    rng = np.random.default_rng(SEED)
    # At another hour each time, so that they cover the range of the daily rhythm.
    interval = int(timedelta(days=3, hours=-2) / STEP)
    calibrations = []
    for row in range(interval // 2, len(block), interval):
        raw = float(block.values[row - 3 : row].mean())
        corrected = _SLOPE * raw + _INTERCEPT + float(rng.normal(0, 0.005))
        calibrations.append(
            {
                "sensor_id": CALIBRATED_SENSOR,
                "method": "linear",
                "params": {"slope": _SLOPE, "intercept": _INTERCEPT},
                "corrected_value": round(corrected, 4),
                "applied_at": start + row * STEP - timedelta(minutes=5),
                "source": SOURCE_MANUAL,
            }
        )
    return calibrations
