"""Features of telemetry against the plain loop over devices and windows, against tsfel and tsfresh.

``python -m benchmarks.rul.feature_speed --rows 200000 --peer-python PYTHON``

All compute features of the same windows of the same invented fleet in one run; their answers are compared.
Processor time, one thread each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import signal, stats

from benchmarks.measure import table, write_results
from prediction.rul.features.window_features import window_ends, window_features

RATE = 10.0
CHANNELS = 5
PEER = Path(__file__).parent / "feature_speed_peer.py"
# Places of the features that all three have: mean, std, min, max, median, skew, kurtosis.
SHARED = [0, 1, 2, 3, 4, 6, 7]
Way = Callable[[list[np.ndarray], int, int], np.ndarray]


def fleet(rows: int, devices: int) -> list[np.ndarray]:
    """Devices of equal length with five channels each."""
    chance = np.random.default_rng(1)
    return [chance.normal(0, 1, (rows // devices, CHANNELS)).cumsum(axis=0) for _ in range(devices)]


def ours(devices: list[np.ndarray], window: int, stride: int) -> np.ndarray:
    """All windows of a device at once."""
    made = [window_features(one, window_ends(len(one), window, stride), window, RATE) for one in devices]
    return np.concatenate(made)


def loop(devices: list[np.ndarray], window: int, stride: int) -> np.ndarray:
    """Compute one device, window and channel at a time, with NumPy's and SciPy's functions."""
    found = []
    for one in devices:
        for end in window_ends(len(one), window, stride):
            block = one[end - window + 1 : end + 1]
            found.append([_features(block[:, channel]) for channel in range(block.shape[1])])
    return np.array(found)


def _features(block: np.ndarray) -> list[float]:
    frequencies, power = signal.welch(block, fs=RATE, nperseg=min(len(block), 256))
    return [
        np.mean(block), np.std(block), np.min(block), np.max(block), np.median(block),
        np.max(block) - np.min(block), stats.skew(block), stats.kurtosis(block),
        (block[-1] - block[0]) / (len(block) - 1) * RATE, frequencies[np.argmax(power[1:]) + 1],
        np.sum(power),
    ]  # fmt: skip


def by_peer(
    python: str, library: str, devices: list[np.ndarray], asked: Any
) -> tuple[str, float, np.ndarray]:
    """Compute the shared features by a library in an environment of its own: its name, its seconds, its answers."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "fleet.npy", Path(folder) / "found.npy"
        np.save(source, np.stack(devices))
        command = [python, str(PEER), library, str(source), str(asked.window), str(asked.stride), str(out)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return told["library"], told["seconds"], np.load(out)


def main() -> None:
    """Measure one way after the other, ours before each of them, and compare what was computed."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--rows", type=int, default=200_000)
    command.add_argument("--devices", type=int, default=20)
    command.add_argument("--window", type=int, default=50)
    command.add_argument("--stride", type=int, default=10)
    command.add_argument("--peer-python", help="Python of an environment with tsfresh and tsfel")
    asked = command.parse_args()
    devices = fleet(asked.rows, asked.devices)
    found, told = [], {}
    for name in ("loop", *(("tsfel", "tsfresh") if asked.peer_python else ())):
        mine, answers = timed(ours, devices, asked)
        if name == "loop":
            label, (seconds, theirs) = "plain loop, all 11", timed(loop, devices, asked)
            first = answers
        else:
            label, seconds, theirs = by_peer(asked.peer_python, name, devices, asked)
            label, first = f"{label}, {len(SHARED)} of them", answers[..., SHARED]
        told[name] = {"seconds": seconds, "ours": mine}
        found.append(
            [label, f"{seconds:.1f}", f"{mine:.2f}", f"{seconds / mine:.0f}", agreement(first, theirs)]
        )
    columns = ["way", "its processor s", "ours, all 11", "times ours", "equal answers"]
    table(f"{asked.rows:,} rows, {len(answers):,} windows", columns, found)
    write_results("rul.feature_speed", {"rows": asked.rows, "windows": len(answers), "ways": told})


def timed(way: Way, devices: list[np.ndarray], asked: Any) -> tuple[float, np.ndarray]:
    """Processor seconds, and what was computed."""
    began = time.process_time()
    answers = way(devices, asked.window, asked.stride)
    return time.process_time() - began, answers


def agreement(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Return the share of equal answers by feature: libraries correct skew and kurtosis for the sample or do not."""
    equal = np.isclose(ours, theirs, rtol=1e-6, atol=1e-9).mean(axis=(0, 1))
    return " ".join(f"{share:.0%}" for share in equal)


if __name__ == "__main__":
    main()
