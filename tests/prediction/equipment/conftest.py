"""A pump with known couplings between its channels, stored as telemetry, and models trained on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prediction.equipment.data_source import EquipmentDataSource
from prediction.equipment.family import EquipmentFamily
from prediction.equipment.predictor import EquipmentPredictor
from prediction.equipment.request_parser import EquipmentRequestParser
from storage.db.database import Database
from storage.devices.telemetry import Telemetry, TelemetryRows
from storage.sensors.readings import to_microseconds
from tests.prediction.family_harness import FamilyHarness

START = to_microseconds(datetime(2025, 1, 6, tzinfo=UTC))
TEN_MINUTES = 600_000_000
SMALL = {"off_when": "speed < 5", "algorithm": "ridge"}
CHANNELS = ("speed", "flow", "pressure", "current_mean", "temperature_mean", "bearing")


def make_pump(rows: int, seed: int = 0) -> NDArray[np.float64]:
    """Return channels that follow the load of a pump, which stands still every 200th to 210th row."""
    chance = np.random.default_rng(seed)
    load = np.zeros(rows)
    for row in range(1, rows):
        load[row] = 0.9 * load[row - 1] + chance.normal(0.0, 0.4)
    noise = chance.normal(0.0, 1.0, (rows, 5))
    columns = [
        50 + 5 * load,
        30 + 3 * load + 0.3 * noise[:, 0],
        8 - 0.5 * load + 0.1 * noise[:, 1],
        10 + 2 * load + 0.2 * noise[:, 2],
        60 + 4 * load + 0.5 * noise[:, 3],
        40 + 2 * load + 0.5 * noise[:, 4],
    ]
    values = np.column_stack(columns)
    values[np.arange(rows) % 200 < 10] = [0.0, 0.0, 0.1, 0.0, 20.0, 20.0]
    return values


def to_rows(values: NDArray[np.float64]) -> list[dict[str, float]]:
    """Return rows as clients send them, without times."""
    return [dict(zip(CHANNELS, row, strict=True)) for row in values.tolist()]


def fill_pump(database: Database, rows: int = 1_500, device: str = "pump-1", tenant: str = "default") -> None:
    """Store a pump's telemetry of normal time, a row every ten minutes."""
    times = (START + TEN_MINUTES * np.arange(rows)).tolist()
    Telemetry(database).ingest(tenant, TelemetryRows([device] * rows, times, to_rows(make_pump(rows))))


class Plant(FamilyHarness):
    """A database with a pump, and what trains on it."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder / 'test.db'}", folder / "run")
        self.database.migrate()
        super().__init__(folder, EquipmentFamily(), EquipmentRequestParser(), EquipmentPredictor)
        self.data_source = EquipmentDataSource(folder / "data", self.database)

    def small(self) -> dict[str, Any]:
        return SMALL

    def source(self) -> dict[str, Any]:
        from prediction.contract import ModelKey

        return dict(self.data_source.training_source(ModelKey("equipment", "pump-1"), None))


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    plant = Plant(tmp_path_factory.mktemp("plant"))
    fill_pump(plant.database)
    yield plant
    plant.database.close()
