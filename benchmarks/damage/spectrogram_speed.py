"""Spectrograms a second beside a call a window, and training windows a second beside a plain loop.

The windows of one recording overlap by half, the least that trainings use; both ways make the same images.

``python -m benchmarks.damage.spectrogram_speed --peer-python PYTHON``. One thread; processor time, so that neighbours
count less; the compared ways take turns. Outputs are compared before anything is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import ShortTimeFFT, spectrogram
from scipy.signal.windows import hann
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import table, write_results
from prediction.damage.networks import NETWORKS
from prediction.damage.spectrograms.spectrogram import Spectrograms
from prediction.neural.callbacks import NeuralHyperparameters
from prediction.neural.training import TrainingExamples, fit

PEER = Path(__file__).parent / "spectrogram_speed_peer.py"
ROUNDS = 5
WINDOWS = 1_000
TRAINED = 1_500
RATE_HZ = 12_000
SHAPES = (
    ("2,048 samples, frames of 256 every 64", 2048, 256, 64),
    ("2,048 samples, frames of 512 every 64", 2048, 512, 64),
    ("512 samples, frames of 128 every 16", 512, 128, 16),
)


def by_scipy(windows: np.ndarray, maker: Spectrograms) -> np.ndarray:
    """One call of ``scipy.signal.spectrogram`` a window."""
    made = []
    for window in windows[:, :, 0]:
        _, _, power = spectrogram(
            window, RATE_HZ, window="hann", nperseg=maker.n_fft, noverlap=maker.n_fft - maker.hop,
            detrend=False, scaling="density", mode="psd",
        )  # fmt: skip
        made.append(np.log(maker.filters.T @ power + 1e-10))
    return np.array(made)


def by_short_time_fft(windows: np.ndarray, maker: Spectrograms) -> np.ndarray:
    """One call of ``scipy.signal.ShortTimeFFT`` a window, made once."""
    transform = ShortTimeFFT(hann(maker.n_fft, sym=False), maker.hop, RATE_HZ, scale_to="psd")
    first, last = transform.lower_border_end[1], transform.upper_border_begin(windows.shape[1])[1]
    return np.array(
        [np.log(maker.filters.T @ transform.spectrogram(w)[:, first:last] + 1e-10) for w in windows[:, :, 0]]
    )


def by_librosa(python: str, windows: np.ndarray, maker: Spectrograms) -> tuple[np.ndarray, float]:
    """One call of ``librosa.stft`` a window, in an environment of its own: its images and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "asked.npz", Path(folder) / "made.npy"
        np.savez(
            source,
            windows=windows[:, :, 0],
            filters=maker.filters,
            n_fft=maker.n_fft,
            hop=maker.hop,
        )
        command = [python, str(PEER), str(source), str(out), str(ROUNDS)]
        alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        told = subprocess.run(command, check=True, capture_output=True, text=True, env=alone).stdout
        return np.load(out), json.loads(told)["seconds"]


def spectrograms(peer_python: str | None) -> list[list[Any]]:
    """Windows a second of each way; librosa's right after the others."""
    rows = []
    chance = np.random.default_rng(0)
    for name, size, n_fft, hop in SHAPES:
        starts = np.arange(WINDOWS) * (size // 2)
        samples = chance.normal(size=(int(starts[-1]) + size, 1)).astype(np.float32)
        samples -= samples.mean()
        windows = sliding_window_view(samples, size, axis=0)[starts].swapaxes(1, 2)
        maker = Spectrograms(size, n_fft, hop, min(64, n_fft // 2))
        ways: dict[str, Callable[[], Any]] = {
            "here": partial(maker.compute, samples, starts),
            "scipy": partial(by_scipy, windows, maker),
            "ShortTimeFFT": partial(by_short_time_fft, windows, maker),
        }
        _check_alike(maker.compute(samples, starts)[:20, 0], by_scipy(windows[:20], maker))
        speed = {way: WINDOWS / seconds for way, seconds in _timed(ways).items()}
        if peer_python:
            theirs, seconds = by_librosa(peer_python, windows, maker)
            _check_alike(maker.compute(samples, starts)[:, 0], theirs)
            speed["librosa"] = WINDOWS / seconds
        others = [f"{speed[way]:,.0f} ({speed['here'] / speed[way]:.1f})" if way in speed else "not installed"
                  for way in ("scipy", "ShortTimeFFT", "librosa")]  # fmt: skip
        rows.append([name, f"{speed['here']:,.0f}", *others])
    return rows


def _check_alike(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal but for a constant: a density counts both halves of the spectrum."""
    apart = ours - theirs
    assert np.std(apart) < 0.05, np.std(apart)


def training() -> list[list[Any]]:
    """Windows a second of an epoch, here and in a plain loop over a DataLoader."""
    rows = []
    images = torch.randn(TRAINED, 2, 64, 25)
    targets = torch.randint(0, 3, (TRAINED,))
    for model_type in sorted(NETWORKS):

        def make_network(kind: str = model_type) -> nn.Module:
            torch.manual_seed(0)
            return NETWORKS[kind](2, 64, 25, 3, linear_images=0)

        def here(make: Callable[[], nn.Module] = make_network) -> None:
            recipe = NeuralHyperparameters(epochs=1, batch_size=32)
            fit(make(), TrainingExamples(images, targets), None, recipe, loss=nn.functional.cross_entropy)

        def plain(make: Callable[[], nn.Module] = make_network) -> None:
            network = make()
            optimiser = torch.optim.Adam(network.parameters())
            network.train()
            for batch, truth in DataLoader(TensorDataset(images, targets), 32, shuffle=True):
                optimiser.zero_grad()
                nn.functional.cross_entropy(network(batch), truth).backward()
                optimiser.step()

        seconds = _timed({"here": here, "plain": plain}, rounds=3)
        speed = {way: TRAINED / spent for way, spent in seconds.items()}
        ratio = speed["here"] / speed["plain"]
        rows.append([model_type, f"{speed['here']:,.0f}", f"{speed['plain']:,.0f}", f"{ratio:.2f}"])
    return rows


def _timed(ways: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median processor seconds of each way, in turns."""
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.process_time()
            way()
            spent[name].append(time.process_time() - began)
    return {name: statistics.median(seconds) for name, seconds in spent.items()}


def main() -> None:
    """Measure, print and keep."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--peer-python", help="Python of an environment with librosa")
    torch.set_num_threads(1)
    pictures = spectrograms(command.parse_args().peer_python)
    ways = ["window", "here", "scipy.signal.spectrogram", "ShortTimeFFT", "librosa.stft"]
    table("Spectrograms, windows/s (ratio of here to it)", ways, pictures)
    trained = training()
    table("Training, windows/s", ["network", "here", "plain loop", "ratio"], trained)
    write_results("damage.spectrogram_speed", {"spectrograms": pictures, "training": trained})


if __name__ == "__main__":
    main()
