"""A small believable series, stored as a dataset, and a forecasting model trained on it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prediction.forecasting.family import ForecastingFamily
from prediction.forecasting.requests import ForecastingParser
from prediction.forecasting.serving.predictor import ForecastingPredictor
from storage.datasets.store import DatasetStore
from tests.prediction.family_harness import FamilyHarness


def hourly_csv(rows: int = 900, seed: int = 0, *, noise: float = 2.0) -> str:
    """Load with a daily rhythm, an oil temperature that follows it, and a column that never changes."""
    chance = np.random.default_rng(seed)
    hours = np.arange(rows)
    load = 40 + 10 * np.sin(2 * np.pi * hours / 24) + noise * chance.normal(size=rows)
    oil = 60 + 0.5 * np.roll(load, 2) + noise * chance.normal(size=rows)
    stamps = np.datetime64("2024-01-01T00:00:00") + hours * np.timedelta64(1, "h")
    lines = [f"{t},{a:.4f},{b:.4f}" for t, a, b in zip(stamps, load, oil, strict=True)]
    return "\n".join(["time,load,oil", *lines]) + "\n"


class Plant(FamilyHarness):
    """A data folder with one dataset, and what trains on it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ForecastingFamily(), ForecastingParser(), ForecastingPredictor)
        self.store = DatasetStore(folder / "datasets")
        self.dataset = self.upload(hourly_csv())

    def upload(self, text: str) -> str:
        return self.store.receive(io.BytesIO(text.encode()), "plant.csv").id

    def small(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "target_columns": ["oil"],
            "window_size": 24,
            "future_steps": 6,
            "hidden_size": 8,
            "epochs": 2,
            "architecture": "NLinear",
        }


@pytest.fixture
def plant(tmp_path) -> Plant:
    return Plant(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return a plant, its model of two targets, what was prepared, and the version's folder."""
    plant = Plant(tmp_path_factory.mktemp("plant"))
    model, prepared = plant.train(
        target_columns=["oil", "load"], architecture="BiLSTM", epochs=6, learning_rate=0.01
    )
    return plant, model, prepared, plant.save(model, prepared)
