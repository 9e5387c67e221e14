"""Assets through the whole training: ``python -m benchmarks.equipment.held_out_time --data FOLDER`` (the shared data).

Each table is one asset, as a client would train it: algorithms chosen on the validation part, faults inserted into
the last fifth, episodes counted there. Tables: transformers (ETTh1 by the hour, ETTm1 by the quarter of an hour), gas
sensors beside a reference (AirQualityUCI, hourly), the normal runs of Tennessee Eastman, and a hydraulic rig whose
eight sensors are averaged over each load cycle while its components are sound.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.equipment.tep import STEP_SECONDS, read_run
from benchmarks.measure import table, write_results
from prediction.contract import no_progress
from prediction.equipment.data.prepare import prepare_telemetry
from prediction.equipment.family import EquipmentFamily
from prediction.equipment.request_parser import EquipmentRequestParser
from storage.devices.telemetry import DeviceTelemetry

HOUR_SECONDS = 3_600.0
_AIR_CHANNELS = ("PT08_S1_CO", "PT08_S2_NMHC", "PT08_S3_NOx", "PT08_S4_NO2", "PT08_S5_O3", "T", "RH")
_RIG_SENSORS = ("TS1", "TS2", "TS3", "TS4", "VS1", "CE", "CP", "SE")


def main() -> None:
    """Print a table and write the figures."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True)
    command.add_argument("--budget", type=float, default=1.0, help="false alarms per week")
    asked = command.parse_args()
    figures = {telemetry.device_id: measure(telemetry, asked.budget) for telemetry in read_assets(asked.data)}
    columns = (
        "algorithm",
        "miss_rate",
        "pca_t2",
        "single_channel",
        "right_channel",
        "weeks",
        "episodes_per_week",
    )
    rows = [[name, *(_format(result[column]) for column in columns)] for name, result in figures.items()]
    table(f"Held-out time, {asked.budget:g} false alarms a week", ("asset", *columns), rows)
    print(write_results("equipment.held_out_time", figures))


def measure(telemetry: DeviceTelemetry, budget: float) -> dict[str, Any]:
    """Train on one asset and return what a session would report."""
    family = EquipmentFamily()
    options = EquipmentRequestParser().parse_options({"false_alarms_per_week": budget})
    prepared = prepare_telemetry(telemetry, options, [])
    model = family.fit(prepared, options, no_progress)
    scores = family.evaluate(model, prepared)
    return {
        "algorithm": model.evaluated.detector.algorithm,
        "backtest": dict(model.backtest),
        "miss_rate": scores.headline,
        **scores.baselines,
        "right_channel": scores.metrics["right_channel_rate"],
        "weeks": len(prepared.test) * prepared.interval_seconds / (7 * 86_400),
        "episodes_per_week": scores.metrics["false_alarms_per_week"],
        "limit": model.evaluated.detector.limit.to_dict(),
    }


def read_assets(data: Path) -> Iterator[DeviceTelemetry]:
    """Yield every table as the telemetry of a device."""
    for name, step in (("ETTh1.csv", HOUR_SECONDS), ("ETTm1.csv.gz", HOUR_SECONDS / 4)):
        columns = _read_csv(data / "forecasting" / "ETT" / name)
        yield _to_telemetry(name.partition(".")[0], columns, step)
    air = _read_csv(data / "sensors" / "AirQualityUCI" / "AirQualityUCI.csv")
    yield _to_telemetry("AirQualityUCI", {name: air[name] for name in _AIR_CHANNELS}, HOUR_SECONDS)
    normal = [read_run(data / "sensors" / "TEP" / name) for name in ("d00.csv.gz", "d00_te.csv.gz")]
    values = np.concatenate([run.channels for run in normal])
    columns = {f"x{number:02d}": column for number, column in enumerate(values.T)}
    yield _to_telemetry("Tennessee Eastman", columns, STEP_SECONDS)
    yield _read_rig(data / "tabular" / "hydraulic_systems")


def _read_rig(folder: Path) -> DeviceTelemetry:
    sensors = {}
    for name in _RIG_SENSORS:
        with gzip.open(folder / f"{name}.csv.gz", "rt") as opened:
            lines = list(csv.reader(opened))
        sensors[name] = np.array([[float(cell) for cell in line] for line in lines[1:]]).mean(axis=1)
    with (folder / "profile.csv").open() as opened:
        profile = list(csv.DictReader(opened))
    sound = [row["cooler_pct"] == "100" and row["pump_leakage"] == "0" for row in profile]
    return _to_telemetry("hydraulic rig", {name: column[sound] for name, column in sensors.items()}, 60.0)


def _read_csv(file: Path) -> dict[str, NDArray[np.float64]]:
    """Return the numeric columns; -200 of the gas sensors is no value."""
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open(encoding="utf-8") as opened:
        rows = [row for row in csv.reader(opened) if any(row)]
    columns = {}
    for name, *cells in zip(*rows, strict=True):
        try:
            column = np.array([float(cell or "nan") for cell in cells])
        except ValueError:
            continue
        columns[name] = np.where(column == -200.0, np.nan, column)
    return columns


def _to_telemetry(name: str, columns: dict[str, NDArray[np.float64]], step: float) -> DeviceTelemetry:
    values = np.column_stack(list(columns.values()))
    times = (np.arange(len(values)) * step * 1e6).astype(np.int64)
    return DeviceTelemetry(name, np.arange(len(values)), times, tuple(columns), values)


def _format(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
