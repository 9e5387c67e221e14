"""Features of telemetry against the plain loop over devices and windows, and against tsfel where it is.

``python -m benchmarks.rul_features --rows 200000``

All compute the same features of the same windows of the same invented fleet in one run; their answers are
compared. tsfel is asked for its functions of the same quantities, window by window, as its extractor does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy import signal, stats

from benchmarks.measuring import keep, table
from prediction.rul.features import window_ends, window_features

RATE = 10.0
CHANNELS = 5


def fleet(rows: int, devices: int) -> list[np.ndarray]:
    """Devices of equal length with five channels each."""
    chance = np.random.default_rng(1)
    return [chance.normal(0, 1, (rows // devices, CHANNELS)).cumsum(axis=0) for _ in range(devices)]


def ours(devices: list[np.ndarray], window: int, stride: int) -> np.ndarray:
    """All windows of a device at once."""
    made = [window_features(one, window_ends(len(one), window, stride), window, RATE) for one in devices]
    return np.concatenate(made)


def loop(devices: list[np.ndarray], window: int, stride: int) -> np.ndarray:
    """A device, a window and a channel at a time, with NumPy's and SciPy's functions."""
    return _looped(devices, window, stride, _features)


def _looped(
    devices: list[np.ndarray], window: int, stride: int, features: Callable[[np.ndarray], list[float]]
) -> np.ndarray:
    found = []
    for one in devices:
        for end in window_ends(len(one), window, stride):
            block = one[end - window + 1 : end + 1]
            found.append([features(block[:, channel]) for channel in range(block.shape[1])])
    return np.array(found)


def _features(block: np.ndarray) -> list[float]:
    frequencies, power = signal.welch(block, fs=RATE, nperseg=min(len(block), 256))
    return [
        np.mean(block), np.std(block), np.min(block), np.max(block), np.median(block),
        np.max(block) - np.min(block), stats.skew(block), stats.kurtosis(block),
        (block[-1] - block[0]) / (len(block) - 1) * RATE, frequencies[np.argmax(power[1:]) + 1],
        np.sum(power),
    ]  # fmt: skip


def with_tsfel(devices: list[np.ndarray], window: int, stride: int) -> np.ndarray | None:
    """The shared features by tsfel's own functions; None where it is not installed."""
    try:
        import tsfel
    except ImportError:
        return None
    asked = (
        tsfel.calc_mean, tsfel.calc_std, tsfel.calc_min, tsfel.calc_max, tsfel.calc_median,
        tsfel.pk_pk_distance, tsfel.skewness, tsfel.kurtosis,
    )  # fmt: skip
    return _looped(devices, window, stride, lambda block: [float(feature(block)) for feature in asked])


def main() -> None:
    """Measure in turns and compare what was computed."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--rows", type=int, default=200_000)
    command.add_argument("--devices", type=int, default=20)
    command.add_argument("--window", type=int, default=50)
    command.add_argument("--stride", type=int, default=10)
    command.add_argument("--rounds", type=int, default=3)
    asked = command.parse_args()
    devices = fleet(asked.rows, asked.devices)
    ways = {"all windows at once": ours, "loop": loop, "tsfel (8 of the 11)": with_tsfel}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers = {}
    for turn in range(asked.rounds):
        for name, way in ways.items():
            if name in answers and turn and way is not ours:
                continue
            began = time.perf_counter()
            answers[name] = way(devices, asked.window, asked.stride)
            seconds[name].append(time.perf_counter() - began)
    first = answers["all windows at once"]
    best = min(seconds["all windows at once"])
    rows = [
        [
            name,
            f"{min(seconds[name]):.2f}",
            f"{min(seconds[name]) / best:.0f}",
            _agreement(first, answers[name]),
        ]
        for name in ways
        if answers[name] is not None
    ]
    table(f"{asked.rows:,} rows, {len(first):,} windows", ["way", "seconds", "times ours", "agrees"], rows)
    keep("rul_features", {"rows": asked.rows, "windows": len(first), "seconds": seconds})


def _agreement(ours: np.ndarray, theirs: np.ndarray) -> str:
    close = np.isclose(ours[..., : theirs.shape[2]], theirs, rtol=1e-6, atol=1e-9)
    return f"{close.mean():.4%}"


if __name__ == "__main__":
    main()
