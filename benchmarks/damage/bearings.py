"""Invented bearings: how well damage is told at a load, and on bearings, that were never heard.

``python -m benchmarks.damage.bearings --seeds 4 5 6``. Four classes (healthy; inner race, outer race or ball
damaged), four bearings each, two loads to train on. Each bearing has resonances, transfer path, loudness,
noise and shaft harmonics of its own, so levels tell the bearing and only the rate of impacts the damage.
Asked are the same bearings at another load, and three new bearings of each class. Beside the defaults: no
modulation spectra and windows of 2,048 samples, as it was before; and a random forest on spectra and
moments of windows.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve, firwin2, lfilter
from scipy.stats import kurtosis, skew
from sklearn.ensemble import RandomForestClassifier

from benchmarks.measure import table, write_results
from prediction.damage.data.preparation import prepare_recordings
from prediction.damage.model.fitting import compute_logits, refit_damage_model, train_damage_model
from prediction.damage.requests import DamageParser
from storage.datasets.recordings.waveform import encode_wav
from storage.datasets.store import DatasetStore

IMPACTS_A_TURN = {"healthy": 0.0, "inner": 5.42, "outer": 3.58, "ball": 4.71}
# Sampling rate, seconds a recording, turns a second.
PLANTS = {"12 kHz, 29.5 turns/s": (12_000, 4.0, 29.5), "64 kHz, 15 turns/s": (64_000, 2.0, 15.0)}
WAYS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "no refit": {"refit": False},
    "as before": {"modulation": False, "window_size": 2048, "refit": False},
}
Samples = NDArray[np.float32]
Heard = tuple[str, Samples]


class Bearing:
    """What is peculiar to one specimen."""

    def __init__(self, label: str, rate_hz: int, chance: np.random.Generator) -> None:
        self.label, self.rate_hz, self.chance = label, rate_hz, chance
        self.gain, self.noise = np.exp(chance.normal(0, 0.45)), 0.3 * np.exp(chance.normal(0, 0.3))
        since = np.arange(int(0.02 * rate_hz)) / rate_hz
        modes = zip(chance.uniform(900, min(rate_hz * 0.42, 9_000), 3), chance.uniform(300, 1_200, 3),
                    chance.uniform(0.3, 1, 3), strict=True)  # fmt: skip
        self.ringing = sum(a * np.exp(-d * since) * np.sin(2 * np.pi * f * since) for f, d, a in modes)
        self.severity = 2.0 * np.exp(chance.normal(0, 0.5))
        self.shaft = chance.uniform(0.2, 1.2, 4)
        self.tones = [(chance.uniform(8, 40), chance.uniform(0.05, 0.3)) for _ in range(3)]
        self.path = firwin2(129, np.linspace(0, 1, 9), np.exp(chance.normal(0, 0.5, 9)))

    def recorded(self, load: int, seconds: float, turns_hz: float) -> Samples:
        """One recording under a load, shape (samples, 1)."""
        count = int(seconds * self.rate_hz)
        turning = turns_hz * (1 - 0.012 * load) * self.chance.uniform(0.995, 1.005)
        angle = 2 * np.pi * turning * np.arange(count) / self.rate_hz + self.chance.uniform(0, 2 * np.pi)
        sound = sum(a * np.sin((k + 1) * angle + k) for k, a in enumerate(self.shaft)) * (1 + 0.15 * load)
        sound += sum(a * np.sin(order * angle) for order, a in self.tones)
        sound += self.noise * (1 + 0.1 * load) * self.chance.normal(size=count)
        sound += fftconvolve(self._impacts(count, load, seconds, turning), self.ringing)[:count]
        made: Samples = (self.gain * lfilter(self.path, 1, sound)).astype(np.float32)[:, None]
        return made

    def _impacts(self, count: int, load: int, seconds: float, turning: float) -> NDArray[np.float64]:
        train = np.zeros(count)
        often = IMPACTS_A_TURN[self.label] * turning
        if not often:  # knocks now and then, without a rate
            many = self.chance.poisson(3 * seconds)
            np.add.at(
                train,
                self.chance.integers(0, count, many),
                self.severity * self.chance.uniform(0.2, 0.8, many),
            )
            return train
        moments = np.cumsum(self.chance.normal(1, 0.012, int(seconds * often) + 2)) / often
        loud = self.severity * (1 + 0.25 * load) * self.chance.uniform(0.7, 1.3, len(moments))
        swings = {"inner": (0.5, turning), "ball": (0.4, 0.4 * turning)}
        depth, rate = swings.get(self.label, (0.0, 0.0))
        loud *= 1 - depth + depth * np.cos(2 * np.pi * rate * moments)
        places = (moments * self.rate_hz).astype(int)
        np.add.at(train, places[places < count], loud[places < count])
        return train


def plant(name: str, seed: int) -> tuple[list[tuple[str, Samples]], list[Heard], list[Heard]]:
    """Return recordings to train on by path, of another load, and of new bearings."""
    rate, seconds, turns = PLANTS[name]
    chance = np.random.default_rng(seed)
    train, other_load, new = [], [], []
    for label in IMPACTS_A_TURN:
        for number in range(4):
            bearing = Bearing(label, rate, chance)
            for load in (0, 1):
                path = f"{label}/{label}-{number}/load {load}.wav"
                train.append((path, bearing.recorded(load, seconds, turns)))
            other_load.append((label, bearing.recorded(3, seconds, turns)))
        for _ in range(3):
            bearing = Bearing(label, rate, chance)
            new += [(label, bearing.recorded(load, seconds, turns)) for load in (0, 1)]
    return train, other_load, new


def forest(train: Sequence[tuple[str, Samples]], asked: Sequence[Sequence[Heard]]) -> list[float]:
    """Return recordings told by the vote of a random forest on windows of 2,048 samples."""

    def seen(samples: Samples, size: int = 2048) -> NDArray[np.float64]:
        windows = samples[: len(samples) // size * size, 0].reshape(-1, size)
        power = np.abs(np.fft.rfft(windows * np.hanning(size)))[:, :-1].reshape(len(windows), 64, -1).mean(2)
        moments = windows.std(1), skew(windows, 1), kurtosis(windows, 1), np.abs(windows).max(1)
        return np.column_stack([*moments, np.log(power + 1e-9)])

    known = [seen(samples) for _, samples in train]
    labels = np.repeat([path.split("/")[0] for path, _ in train], [len(windows) for windows in known])
    model = RandomForestClassifier(100, random_state=0).fit(np.concatenate(known), labels)

    def vote(samples: Samples) -> str:
        chances: NDArray[np.float64] = model.predict_proba(seen(samples))
        return str(model.classes_[chances.mean(0).argmax()])

    return [float(np.mean([vote(samples) == label for label, samples in part])) for part in asked]


def measured(name: str, seed: int, epochs: int) -> list[list[Any]]:
    """Shares of recordings told right, each way."""
    train, *asked = plant(name, seed)
    rate = PLANTS[name][0]
    rows: list[list[Any]] = [[name, seed, "random forest", *forest(train, asked), ""]]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, samples in train:
            archive.writestr(path, encode_wav(samples, rate))
    packed.seek(0)
    with tempfile.TemporaryDirectory() as home:
        dataset = DatasetStore(Path(home)).receive(packed, "bearings.zip")
        for way, options in WAYS.items():
            began = time.process_time()
            given = {"dataset": dataset.id, "seed": seed, "epochs": epochs, **options}
            chosen = DamageParser().parse_options(given)
            prepared = prepare_recordings(dataset, chosen)
            model = train_damage_model(prepared, chosen)
            if chosen["refit"]:
                model = refit_damage_model(model, prepared)
            shares = []
            for part in asked:
                told = [model.postprocessor.predict(samples, rate, lambda images: compute_logits(model.network, images))  # noqa: B023
                        for _, samples in part]  # fmt: skip
                right = [one["nearest_class"] == label for one, (label, _) in zip(told, part, strict=True)]
                shares.append(float(np.mean(right)))
            rows.append([name, seed, way, *shares, round(time.process_time() - began, 1)])
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure each plant with each seed."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--plants", nargs="+", choices=sorted(PLANTS), default=list(PLANTS))
    command.add_argument("--seeds", nargs="+", type=int, default=[4, 5])
    command.add_argument("--epochs", type=int, default=12)
    asked = command.parse_args()
    torch.set_num_threads(1)
    rows = [
        row for name in asked.plants for seed in asked.seeds for row in measured(name, seed, asked.epochs)
    ]
    header = ["bearings", "seed", "way", "other load", "new bearings", "processor seconds"]
    table("Recordings told right", header, rows)
    write_results("damage.bearings", {"header": header, "rows": rows})


if __name__ == "__main__":
    main()
