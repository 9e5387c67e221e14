"""A small fleet of pumps that wear out, stored as telemetry and failures, and a model trained on it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prediction.rul.data_source import RulDataSource
from prediction.rul.family import RulFamily
from prediction.rul.predictor import RulPredictor
from prediction.rul.request_parser import RulRequestParser
from storage.db.database import Database
from storage.devices.failures import Failures
from storage.devices.telemetry import Telemetry, TelemetryRows
from storage.sensors.readings import from_microseconds, to_microseconds
from tests.prediction.family_harness import FamilyHarness

START = to_microseconds(datetime(2025, 1, 1, tzinfo=UTC))
HOUR = 3_600_000_000
SMALL = {
    "sequence_length": 12,
    "smoothing": 4,
    "prediction_horizon_hours": 60,
    "model_type": "mlp",
    "hidden_size": 16,
    "epochs": 12,
    "batch_size": 64,
    "learning_rate": 0.005,
    "stride": 2,
}


def fill_fleet(
    database: Database,
    tenant: str = "default",
    devices: int = 20,
    *,
    seed: int = 0,
    wear: float = 1.0,
    conditions: int = 1,
) -> list[str]:
    """Devices that heat up and shake more and more until they fail; without wear there is only noise."""
    chance = np.random.default_rng(seed)
    names = [f"P-{number:03d}" for number in range(devices)]
    for name in names:
        life = int(chance.integers(80, 140))
        worn = wear * np.clip(1 - (life - np.arange(life)) / 60, 0, None)
        setting = 100.0 * chance.integers(0, conditions, life)
        values = {
            "current_mean": 10 + setting + 2 * worn + chance.normal(0, 0.3, life),
            "vibration_x_mean": 3 + setting / 10 + 1.5 * worn**2 + chance.normal(0, 0.2, life),
            "temperature_mean": 60 - setting / 5 + 8 * worn + chance.normal(0, 1.0, life),
            "oil_pressure": 2 - worn + chance.normal(0, 0.2, life),
            "setting_load": setting + chance.normal(0, 0.1, life),
            "housing": np.full(life, 7.0),
        }
        times = (START + HOUR * np.arange(life)).tolist()
        rows = [dict(zip(values, row, strict=True)) for row in np.stack(list(values.values()), 1).tolist()]
        Telemetry(database).ingest(tenant, TelemetryRows([name] * life, times, rows))
        Failures(database).ingest(
            tenant, [{"device_id": name, "event_time": from_microseconds(times[-1]), "event_type": "failure"}]
        )
    return names


class Plant(FamilyHarness):
    """A database with a fleet, and what trains on it."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder / 'test.db'}", folder / "run")
        self.database.migrate()
        super().__init__(folder, RulFamily(), RulRequestParser(), RulPredictor)
        self.data_source = RulDataSource(folder / "data", self.database)

    def small(self) -> dict[str, Any]:
        return SMALL

    def source(self) -> dict[str, Any]:
        return {
            "tenant": "default",
            "database": str(self.database.engine.url),
            "run_dir": str(self.folder / "run"),
            "telemetry_up_to": Telemetry(self.database).get_watermark(),
        }


@pytest.fixture
def empty(tmp_path) -> Plant:
    return Plant(tmp_path)


@pytest.fixture(scope="session")
def plant(tmp_path_factory) -> Plant:
    """Return a fleet that wears out; tests leave it as it is."""
    made = Plant(tmp_path_factory.mktemp("fleet"))
    fill_fleet(made.database)
    return made


@pytest.fixture(scope="session")
def trained(plant):
    """Return the plant, its model, what was prepared, and the version's folder."""
    model, prepared = plant.train()
    return plant, model, prepared, plant.save(model, prepared)
