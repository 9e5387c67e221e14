"""The shared features by tsfresh or tsfel: run by another Python, one that has them, for `rul_features`.

``PYTHON benchmarks/rul/feature_speed_peer.py tsfresh FLEET.npy 50 10 OUT.npy`` (library, rows, window, stride)
writes the features, shape (windows, channels, features), and prints one JSON line with the processor seconds.
Nothing of Millwright is imported.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np

SHARED = ("mean", "standard_deviation", "minimum", "maximum", "median", "skewness", "kurtosis")


def windows(fleet: np.ndarray, window: int, stride: int) -> Iterator[np.ndarray]:
    """Every window of every device, the last one included; shape (window, channels)."""
    for device in fleet:
        ends = list(range(window, len(device) + 1, stride))
        for end in ends if ends[-1] == len(device) else [*ends, len(device)]:
            yield device[end - window : end]


def by_tsfel(fleet: np.ndarray, window: int, stride: int) -> tuple[np.ndarray, float]:
    """Compute one window and channel at a time, as its own extractor calls its functions."""
    import tsfel

    asked = (tsfel.calc_mean, tsfel.calc_std, tsfel.calc_min, tsfel.calc_max, tsfel.calc_median,
             tsfel.skewness, tsfel.kurtosis)  # fmt: skip
    began = time.process_time()
    found = [
        [[float(feature(block[:, channel])) for feature in asked] for channel in range(block.shape[1])]
        for block in windows(fleet, window, stride)
    ]
    return np.array(found), time.process_time() - began


def by_tsfresh(fleet: np.ndarray, window: int, stride: int) -> tuple[np.ndarray, float]:
    """All windows in one table, one process, as its documentation says; laying the table out counts."""
    import pandas as pd
    from tsfresh import extract_features

    began = time.process_time()
    blocks = np.stack(list(windows(fleet, window, stride)))
    count, _, channels = blocks.shape
    table = pd.DataFrame(blocks.reshape(-1, channels), columns=[f"c{number}" for number in range(channels)])
    table["id"] = np.repeat(np.arange(count), window)
    table["time"] = np.tile(np.arange(window), count)
    found = extract_features(
        table, column_id="id", column_sort="time", n_jobs=0, disable_progressbar=True,
        default_fc_parameters=dict.fromkeys(SHARED),
    )  # fmt: skip
    names = [[f"c{number}__{feature}" for feature in SHARED] for number in range(channels)]
    seconds = time.process_time() - began
    return np.stack([found[some].to_numpy() for some in names], axis=1), seconds


def main() -> None:
    """Compute, keep the answers, tell the time."""
    library, source, window, stride, out = sys.argv[1:]
    warnings.simplefilter("ignore")
    way = {"tsfel": by_tsfel, "tsfresh": by_tsfresh}[library]
    answers, seconds = way(np.load(source), int(window), int(stride))
    np.save(out, answers)
    print(json.dumps({"library": f"{library} {version(library)}", "seconds": seconds}))


if __name__ == "__main__":
    main()
