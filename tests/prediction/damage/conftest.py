"""Recordings of an invented fan, stored as a dataset, and a damage model trained on them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import spectrogram

from prediction.damage.family import DamageFamily
from prediction.damage.requests import DamageParser
from prediction.damage.serving.predictor import DamagePredictor
from storage.datasets.hints import UploadHints
from storage.datasets.recordings.waveform import encode_wav
from storage.datasets.store import DatasetStore
from tests.prediction.family_harness import FamilyHarness

KINDS = ("healthy", "knocking")
RATE = 1000
SMALL = {"window_size": 256, "channels": [8, 8], "hidden_size": 16, "bands": 16, "batch_size": 8}


def recording(kind: str, seed: int = 0, seconds: float = 2.0) -> np.ndarray:
    """Return a hum in noise; a knocking one has a ringing knock 25 times a second."""
    chance = np.random.default_rng(seed)
    times = np.arange(int(seconds * RATE)) / RATE
    hum = np.sin(2 * np.pi * (48 + chance.uniform(-3, 3)) * times + chance.uniform(0, 6))
    wave = hum + chance.normal(0, 0.3, len(times))
    if kind == "knocking":
        since = times % 0.04
        wave += 2 * np.exp(-since * 150) * np.sin(2 * np.pi * (310 + chance.uniform(-20, 20)) * since)
    return wave.astype(np.float32)


def archive(
    count: int,
    *,
    specimens: bool = False,
    kinds: tuple[str, ...] = KINDS,
    first: int = 0,
    seconds: tuple[float, ...] = (2.0,),
) -> bytes:
    """Return a zip with so many WAV recordings of each kind, numbered from ``first``, of these lengths in turn."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        for kind in kinds:
            for number in range(first, first + count):
                specimen = f"s{number // 2}/" if specimens else ""
                wave = recording(kind, number + 1000 * kinds.index(kind), seconds[number % len(seconds)])
                target.writestr(f"{kind}/{specimen}r{number}.wav", encode_wav(wave[:, None], RATE))
    return made.getvalue()


def spectrogram_csv(wave: np.ndarray, *, header: bool = True, decibel: bool = True) -> str:
    """Return what SciPy makes of a recording, as a table: a row a moment, a column a frequency."""
    hertz, times, power = spectrogram(wave, RATE, nperseg=64, noverlap=32)
    levels = 10 * np.log10(power + 1e-10) if decibel else power
    first = ",".join(["time", *(f"{f:g} Hz" for f in hertz)]) + "\n"
    rows = [",".join(f"{value:.6g}" for value in row) for row in levels.T]
    if not header:
        return "\n".join(rows) + "\n"
    return first + "".join(f"{time:.4f},{row}\n" for time, row in zip(times, rows, strict=True))


class Plant(FamilyHarness):
    """A data folder with one dataset, and what trains on it."""

    def __init__(self, folder: Path, content: bytes) -> None:
        super().__init__(folder, DamageFamily(), DamageParser(), DamagePredictor)
        self.store = DatasetStore(folder / "datasets")
        self.dataset = self.upload(content)

    def upload(self, archived: bytes, **hints: Any) -> str:
        return self.store.receive(io.BytesIO(archived), "plant.zip", hints=UploadHints(**hints)).id

    def small(self) -> dict[str, Any]:
        return {"dataset": self.dataset, "epochs": 2, **SMALL}


@pytest.fixture
def plant(tmp_path) -> Plant:
    return Plant(tmp_path, archive(5))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return a plant, its model, what was prepared, and the version's folder."""
    plant = Plant(tmp_path_factory.mktemp("plant"), archive(8))
    model, prepared = plant.train(epochs=8, learning_rate=0.01)
    return plant, model, prepared, plant.save(model, prepared)
