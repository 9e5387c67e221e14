"""Columns known in advance: the test error of a forecast with and without them.

``python -m benchmarks.forecasting.future_columns --data FOLDER``

Made series have 2,000 hours of a daily rhythm, autocorrelated noise and two columns: a planned load and a flag of
rare stops. Each seed has effects of its own. In ETTh1, the oil temperature is forecast with the six loads, which are
not the cause of all of it, so they may as well do harm. The mean squared error is in z units of the test rows.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import table
from prediction.contract import Resources, no_progress
from prediction.forecasting.family import ForecastingFamily
from prediction.forecasting.requests import ForecastingParser
from storage.datasets.store import DatasetStore

ROWS = 2_000
LOADS = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL"]


def build_series(seed: int, effect: float) -> str:
    """Return a table as CSV; ``effect`` multiplies what the columns change."""
    chance = np.random.default_rng(seed)
    hours = np.arange(ROWS)
    noise = np.zeros(ROWS)
    for hour in hours[1:]:
        noise[hour] = 0.8 * noise[hour - 1] + chance.normal()
    plan = np.repeat(chance.normal(size=-(-ROWS // 8)), 8)[:ROWS]
    stop = np.zeros(ROWS)
    for first in chance.integers(0, ROWS, ROWS // 100):
        stop[first : first + 6] = 1
    change = effect * (chance.uniform(1, 3) * plan - chance.uniform(4, 8) * stop)
    power = 50 + 3 * np.sin(2 * np.pi * hours / 24) + noise + change
    stamps = np.datetime64("2024-01-01T00:00:00") + hours * np.timedelta64(1, "h")
    columns = zip(stamps, plan, stop, power, strict=True)
    return "time,plan,stop,power\n" + "".join(f"{t},{p:.4f},{s:.0f},{v:.4f}\n" for t, p, s, v in columns)


def measure(text: str, architecture: str, steps: int, target: str, future: list[str]) -> dict[str, object]:
    """Train once and return the errors of the network; what the table's other columns say is not used."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        dataset = DatasetStore(folder / "datasets").receive(io.BytesIO(text.encode()), "series.csv").id
        options = ForecastingParser().parse_options(
            {
                "dataset": dataset,
                "target_columns": [target],
                "future_columns": future or None,
                "architecture": architecture,
                "future_steps": steps,
                "window_size": 168,
                "epochs": 10,
                "time_budget_seconds": 40,
            }
        )
        family = ForecastingFamily()
        source = {"datasets": str(folder / "datasets"), "tenant": "default"}
        prepared = family.prepare(source, options, Resources(folder / "cache"))
        began = time.process_time()
        model = family.fit(prepared, options, no_progress)
        coverage = family.evaluate(model, prepared).metrics["coverage_0.9"]
        return {
            "mse": model.evaluation.network_mse,
            "chosen": model.architecture,
            "used": model.network.effects is not None,
            "coverage": coverage,
            "processor_seconds": time.process_time() - began,
        }


def read_etth1(folder: Path) -> str:
    """Return the table as it is published."""
    with (folder / "forecasting/ETT/ETTh1.csv").open(encoding="utf-8") as lines:
        rows = list(csv.reader(lines))
    return "".join(",".join(row) + "\n" for row in rows)


def list_cases(folder: Path, seeds: list[int]) -> Iterator[tuple[str, str, int, str, list[str]]]:
    """Yield name, table, steps, target and columns known in advance."""
    for seed in seeds:
        yield "made", build_series(seed, 1.0), 24, "power", ["plan", "stop"]
    for seed in seeds:
        yield "made, no effect", build_series(seed, 0.0), 24, "power", ["plan", "stop"]
    for steps in (24, 96):
        yield f"ETTh1 OT, {steps}", read_etth1(folder), steps, "OT", LOADS


def main() -> None:
    """Measure and print a table."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with the public data sets")
    command.add_argument("--architectures", nargs="+", default=["RidgeLinear", "Smoothing", "BiGRU", "auto"])
    command.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments = command.parse_args()
    torch.set_num_threads(1)
    lines = []
    for name, text, steps, target, future in list_cases(arguments.data, arguments.seeds):
        for architecture in arguments.architectures:
            without = measure(text, architecture, steps, target, [])
            with_them = measure(text, architecture, steps, target, future)
            print(
                json.dumps(
                    {"case": name, "architecture": architecture, "without": without, "with": with_them}
                ),
                flush=True,
            )
            cells = (f"{without['mse']:.3f}", f"{with_them['mse']:.3f}", str(with_them["used"]))
            lines.append([name, architecture, *cells, f"{with_them['coverage']:.2f}"])
    header = ["series", "architecture", "MSE without", "MSE with", "used", "coverage of .90"]
    table("Columns known in advance", header, lines)


if __name__ == "__main__":
    main()
