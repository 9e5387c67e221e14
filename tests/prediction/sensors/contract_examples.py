"""The examples of the sensor family for the contract suite: one of each kind of model."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from prediction.contract import ModelKey
from storage.container import Storage
from storage.db.tables import utc_now
from storage.sensors.calibrations import SOURCE_MANUAL, Calibrations
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings, from_microseconds, to_microseconds
from storage.sensors.sensors import Sensors
from tests.contract.examples import ContractExample


def sensors(storage: Storage) -> ContractExample:
    fill_sensor(storage)
    inputs = [{"value": 50.1}, {"value": 58.0}]
    return ContractExample(ModelKey("sensors", "13-anomaly"), inputs, wrong_inputs=[{"value": "high"}])


def sensors_drift(storage: Storage) -> ContractExample:
    fill_sensor(storage)
    inputs = [{"value": 50.1, "recent": [50.0, 49.8], "future_points": 4}, {"value": 58.0}]
    return ContractExample(
        ModelKey("sensors", "13-drift"), inputs, wrong_inputs=[{"value": 50.0, "future_points": 0}]
    )


def sensors_calibration(storage: Storage) -> ContractExample:
    times = fill_sensor(storage)
    for at in range(40, 400, 40):
        found = {"method": "linear", "params": {}, "corrected_value": 51.0 + at % 3, "source": SOURCE_MANUAL}
        row = {"sensor_id": 13, **found, "applied_at": from_microseconds(int(times[at]))}
        Calibrations(storage.database).insert("default", [row])
    inputs = [{"value": 50.1}, {"value": 500.0}]
    return ContractExample(ModelKey("sensors", "13-calibration"), inputs, wrong_inputs=[{"value": None}])


def fill_sensor(storage: Storage) -> Any:
    """One sensor with 400 hourly readings; their times."""
    count, database = 400, storage.database
    plant = [{"id": 13, "name": "Cooling Tank/Pressure", "type": "Pressure", "nominal_value": 50.0}]
    Sensors(database).insert_with_ids("default", plant)
    start, chance = utc_now() - timedelta(hours=count), np.random.default_rng(1)
    times = to_microseconds(start) + np.arange(count) * 3_600_000_000
    Readings(database).ingest(
        "default", ReadingBlock(np.full(count, 13), times, 50 + chance.normal(0, 0.5, count))
    )
    return times


EXAMPLES = {"sensors": sensors, "sensors-drift": sensors_drift, "sensors-calibration": sensors_calibration}
