"""For every family a small plant with stored data: what the one contract suite trains, asks and feeds."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from demo.anomaly_reports import demo_records, install_demo_reports
from prediction.contract import ModelKey
from storage.container import Storage
from storage.datasets.store import DatasetStore
from storage.db.tables import utc_now
from storage.sensors.calibrations import SOURCE_MANUAL, Calibrations
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings, from_microseconds, to_microseconds
from storage.sensors.sensors import Sensors
from tests import toy_family
from tests.prediction.damage.conftest import KINDS, SMALL, archive, recording
from tests.prediction.forecasting.conftest import hourly_csv
from tests.prediction.rul.conftest import SMALL as SMALL_FLEET
from tests.prediction.rul.conftest import fill_fleet


@dataclass(frozen=True)
class Plant:
    """One model with enough data to train.

    Parameters
    ----------
    options : mapping
        As a client sends them.
    asked : object
        A valid prediction request with at least one input.
    wrong : object
        A prediction request at fault.
    records : sequence, optional
        New records for a second training; none where the family trains from what is stored.
    """

    key: ModelKey
    asked: Any
    wrong: Any
    options: dict[str, Any] = field(default_factory=dict)
    records: Sequence[dict[str, Any]] | None = None


def toy(storage: Storage) -> Plant:
    rows = [f"{record['id']},{record['value']},0\n" for record in toy_family.records(50)]
    (storage.settings.data_dir / "toy-default.csv").write_text(toy_family.HEADER + "".join(rows))
    asked = [{"x": number} for number in range(5)]
    return Plant(ModelKey("toy"), asked, wrong="x", records=toy_family.records(5, 100))


def scoring(storage: Storage) -> Plant:
    install_demo_reports(storage.settings.data_dir)
    sent = demo_records(8, seed=7)
    return Plant(ModelKey("scoring"), asked=sent[5:], wrong=[{"description": 3}], records=sent[:5])


def sensors(storage: Storage) -> Plant:
    fill_sensor(storage)
    asked = [{"value": 50.1}, {"value": 58.0}]
    return Plant(ModelKey("sensors", "13-anomaly"), asked, wrong=[{"value": "high"}])


def sensors_drift(storage: Storage) -> Plant:
    fill_sensor(storage)
    asked = [{"value": 50.1, "recent": [50.0, 49.8], "future_points": 4}, {"value": 58.0}]
    return Plant(ModelKey("sensors", "13-drift"), asked, wrong=[{"value": 50.0, "future_points": 0}])


def sensors_calibration(storage: Storage) -> Plant:
    times = fill_sensor(storage)
    for at in range(40, 400, 40):
        found = {"method": "linear", "params": {}, "corrected_value": 51.0 + at % 3, "source": SOURCE_MANUAL}
        row = {"sensor_id": 13, **found, "applied_at": from_microseconds(int(times[at]))}
        Calibrations(storage.database).insert("default", [row])
    asked = [{"value": 50.1}, {"value": 500.0}]
    return Plant(ModelKey("sensors", "13-calibration"), asked, wrong=[{"value": None}])


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


def forecasting(storage: Storage) -> Plant:
    text = hourly_csv(400)
    store = DatasetStore(storage.settings.data_dir / "datasets")
    dataset = store.receive(io.BytesIO(text.encode()), "plant.csv").id
    options = {
        "dataset": dataset,
        "target_columns": ["oil"],
        "window_size": 24,
        "future_steps": 6,
        "hidden_size": 8,
        "architecture": "NLinear",
        "epochs": 2,
    }
    header, *lines = text.splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines[-30:]]
    return Plant(ModelKey("forecasting", "line-1"), asked={"rows": rows}, wrong={"rows": []}, options=options)


def damage(storage: Storage) -> Plant:
    store = DatasetStore(storage.settings.data_dir / "datasets")
    dataset = store.receive(io.BytesIO(archive(6)), "plant.zip").id
    options = {"dataset": dataset, **SMALL, "epochs": 3}
    asked = [
        {"samples": recording(kind, seed=90)[:1000].tolist(), "sampling_rate_hz": 1000} for kind in KINDS
    ]
    return Plant(ModelKey("damage", "fan"), asked=asked, wrong={"samples": ["x"]}, options=options)


def rul(storage: Storage) -> Plant:
    fill_fleet(storage.database)
    rows = [
        {"current_mean": 10.0, "vibration_x_mean": 3.0, "temperature_mean": 60.0, "oil_pressure": 2.0}
        for _ in range(16)
    ]
    asked = {"rows": [{**row, "setting_load": 0.0} for row in rows], "costs": {"late": 10, "early": 1}}
    return Plant(
        ModelKey("rul", "pumps"), asked=asked, wrong={"rows": [{"oil": "low"}]}, options=dict(SMALL_FLEET)
    )


PLANTS: dict[str, Callable[[Storage], Plant]] = {
    "toy": toy,
    "scoring": scoring,
    "sensors": sensors,
    "sensors-drift": sensors_drift,
    "sensors-calibration": sensors_calibration,
    "forecasting": forecasting,
    "damage": damage,
    "rul": rul,
}
"""A new family adds one plant here; the suite does the rest."""
