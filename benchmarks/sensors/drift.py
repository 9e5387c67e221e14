"""Drift forecasts on real series: ``python -m benchmarks.sensors.drift --data DATA --series report``.

Models learn the first half of a series, and again at seven eighths of it; each forecasts from 200 origins of the eighth
after. Errors are shares of that of repeating the last value, at each horizon by itself.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.sensors.inserted_faults import CHOOSE, REPORT, read
from prediction.sensors import drift
from prediction.sensors.readings.prediction_input import PredictionInput
from prediction.sensors.readings.series import SensorSeries
from storage.sensors.baseline import make_baseline

Array = NDArray[Any]
HORIZONS = (1, 3, 6, 12, 24, 48, 96)
ORIGINS = 200
SPLITS = (0.5, 0.875)


def main() -> None:
    """Print one JSON line for each series, and one for all."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with sensors/ and forecasting/")
    command.add_argument("--series", choices=("choose", "report"), default="report")
    asked = command.parse_args()
    names = CHOOSE if asked.series == "choose" else REPORT
    ratios, coverages = [], []
    for name in names:
        series = read(asked.data, name)
        results = [_measure(series, share) for share in SPLITS]
        ratio, coverage = (np.mean(part, axis=0) for part in zip(*results, strict=True))
        ratios.append(ratio)
        coverages.append(coverage)
        print(json.dumps({"series": name, "ratio": _round(ratio), "coverage": _round(coverage)}))
    total = {
        "ratio": _round(np.exp(np.mean(np.log(ratios), axis=0))),
        "coverage": _round(np.mean(coverages, axis=0)),
    }
    worst = {
        "worst_ratio": _round(np.max(ratios, axis=0)),
        "lowest_coverage": _round(np.min(coverages, axis=0)),
    }
    print(json.dumps({"horizons": HORIZONS, **total, **worst}))


def _measure(series: SensorSeries, share: float) -> tuple[Array, Array]:
    """Return the error at each horizon to that of the last value, and the coverage of the interval."""
    cut, end = int(share * len(series)), int((share + 0.125) * len(series))
    past = series.select(slice(0, cut))
    model = drift.train(past, make_baseline(float(past.values[:10].mean()), None, None))
    percent = model.compute_drift(series.values)
    errors: list[Any] = []
    last_errors: list[Any] = []
    inside: list[Any] = []
    for origin in np.linspace(cut, end - max(HORIZONS) - 1, ORIGINS).astype(int):
        recent = series.values[origin - model.context_length : origin]
        rows = []
        for horizon in HORIZONS:
            question: PredictionInput = {
                "value": float(series.values[origin]),
                "time": float(series.times[origin]),
                "recent": recent.tolist(),
                "future_points": horizon,
            }
            point = model.predict([question])[0]["predictions"][-1]
            truth = percent[origin + horizon]
            rows.append(
                (
                    abs(point["drift"] - truth),
                    abs(percent[origin] - truth),
                    point["low"] <= truth <= point["high"],
                )
            )
        for columns, part in zip((errors, last_errors, inside), zip(*rows, strict=True), strict=True):
            columns.append(part)
    return np.mean(errors, axis=0) / np.mean(last_errors, axis=0), np.mean(inside, axis=0)


def _round(values: Array) -> list[float]:
    return [round(float(value), 2) for value in values]


if __name__ == "__main__":
    main()
