"""Cheap gas sensors beside a reference: ``python -m benchmarks.sensors.calibration --data AirQualityUCI``.

Split by time. Each pollutant's own metal-oxide channel is calibrated as a plant does it: once a week, the
mean of three readings against the reference. *Once* is calibrated in the first half only; *adaptive* is
trained again on all calibrations so far before each week of the second half.
"""

from __future__ import annotations

import argparse
import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.sensors import calibration
from prediction.sensors.calibration import CalibrationModel, CalibrationPairs

Array = NDArray[Any]
CHANNELS = {"NO2": ("NO2_GT", "PT08_S4_NO2"), "NOx": ("NOx_GT", "PT08_S3_NOx"), "CO": ("CO_GT", "PT08_S1_CO")}
MISSING = -200.0
WEEK = 168


def main() -> None:
    """Print one JSON document."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with AirQualityUCI.csv")
    with (command.parse_args().data / "AirQualityUCI.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    print(json.dumps({name: measured(rows, *columns) for name, columns in CHANNELS.items()}, indent=2))


def measured(rows: list[dict[str, str]], reference: str, channel: str) -> dict[str, Any]:
    """Errors on the second half: of the mean, of one calibration for ever, of calibrating every week."""
    times, truth, raw = _columns(rows, reference, channel)
    half = len(times) // 2
    found = calibration.build_pairs(times[2::WEEK], truth[2::WEEK], times, raw)
    first = found.select(slice(0, int(np.searchsorted(found.times, times[half]))))
    once = calibration.train(first)
    adaptive, inside = _week_by_week(found, times[half:], raw[half:], truth[half:])
    late = truth[half:]
    return {
        "hours": len(late),
        "calibrations": len(found),
        "mae_mean_of_first_half": _mae(np.full(len(late), truth[:half].mean()), late),
        "mae_calibrated_once": _mae(once.slope * raw[half:] + once.intercept, late),
        "mae_adaptive": _mae(adaptive, late),
        "uncertainty_coverage": round(float(inside.mean()), 3),
        "next_due_days": once.due["interval_days"],
    }


def _week_by_week(found: CalibrationPairs, times: Array, raw: Array, truth: Array) -> tuple[Array, Array]:
    """Corrections by a model trained on the calibrations before each week, and whether U held."""
    corrected, inside = np.empty(len(times)), np.zeros(len(times), dtype=bool)
    for start in range(0, len(times), WEEK):
        known = found.select(slice(0, int(np.searchsorted(found.times, times[start]))))
        model: CalibrationModel = calibration.train(known)
        week = slice(start, start + WEEK)
        corrected[week] = model.slope * raw[week] + model.intercept
        room = np.array([model.uncertainty(float(value)) for value in raw[week]])
        inside[week] = np.abs(corrected[week] - truth[week]) <= room
    return corrected, inside


def _columns(rows: list[dict[str, str]], reference: str, channel: str) -> tuple[Array, Array, Array]:
    """Seconds, reference and raw value of the hours in which both are there."""
    table = np.array([[_time(row), float(row[reference]), float(row[channel])] for row in rows])
    known = (table[:, 1] != MISSING) & (table[:, 2] != MISSING)
    return table[known, 0], table[known, 1], table[known, 2]


def _time(row: dict[str, str]) -> float:
    said = f"{row['Date']} {row['Time'].replace('.', ':')[:8]}"
    return datetime.strptime(said, "%d/%m/%Y %H:%M:%S").replace(tzinfo=UTC).timestamp()


def _mae(given: Array, truth: Array) -> float:
    return round(float(np.abs(given - truth).mean()), 2)


if __name__ == "__main__":
    main()
