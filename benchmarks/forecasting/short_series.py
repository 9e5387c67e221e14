"""Short series: the error of an architecture beside the seasonal naive forecast, and what its intervals cover.

``python -m benchmarks.forecasting.short_series --data FOLDER --architectures auto --set chosen``

Twelve series of 125 to 600 rows (hourly, six-hourly, daily, weekly, monthly) are cut from public tables. Options
and defaults were chosen on the six of the set ``chosen``; the six of ``reported`` were only measured. Each series
is trained three times, without its last one, two and three horizons, as a user would: upload, train, send the rows,
compare the forecast with what followed. ``--cuts 4 --seed 1`` measures four other cuts of each long table instead, of
three to five fifths of the length, drawn by chance. The error is the mean absolute one over these three futures,
divided by that of the seasonal naive forecast, which repeats the last season (the last value where there is none).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measure import table
from prediction.contract import Resources, no_progress
from prediction.forecasting.family import ForecastingFamily
from prediction.forecasting.requests import ForecastingParser
from prediction.forecasting.serving.postprocess import TargetForecast
from prediction.forecasting.serving.predictor import ForecastingPredictor
from storage.datasets.store import DatasetStore

Floats = NDArray[np.float64]
CHOSEN, REPORTED = "chosen", "reported"
ORIGINS = 3
COVERAGE = 0.9


@dataclass(frozen=True)
class ShortSeries:
    """One series: where it comes from, its grid, how far ahead it is forecast and what repeats.

    Parameters
    ----------
    column : str
        Of the values; empty to count the rows of each period.
    period : str
        A unit of `numpy.datetime64` with its count, the grid onto which rows are averaged.
    first, rows : int
        Of the grid: where the series begins, and its length.
    season : int
        Rows of one season, for the naive forecast.
    """

    name: str
    group: str
    file: str
    time_columns: tuple[str, ...]
    column: str
    period: tuple[int, str]
    first: int
    rows: int
    horizon: int
    season: int


_ETT = "forecasting/ETT/"
_AIR = "sensors/AirQualityUCI/AirQualityUCI.csv"
_NAB = "sensors/NAB/data/"
_TAQA_TIME = "Date de détéction de l'anomalie"
SERIES = (
    ShortSeries("taxi_daily", CHOSEN, f"{_NAB}realKnownCause/nyc_taxi.csv", ("timestamp",), "value",
                (1, "D"), 0, 214, 14, 7),
    ShortSeries("oil_hourly", CHOSEN, f"{_ETT}ETTh1.csv", ("date",), "OT", (1, "h"), 5000, 500, 24, 24),
    ShortSeries("load_6_hourly", CHOSEN, f"{_ETT}ETTm1.csv.gz", ("date",), "HUFL", (6, "h"), 400, 480, 12, 4),
    ShortSeries("air_hourly", CHOSEN, _AIR, ("Date", "Time"), "T", (1, "h"), 3000, 400, 24, 24),
    ShortSeries("room_hourly", CHOSEN, f"{_NAB}realKnownCause/ambient_temperature_system_failure.csv",
                ("timestamp",), "value", (1, "h"), 2000, 360, 24, 24),
    ShortSeries("reports_weekly", CHOSEN, "scoring/taqa/disponibilite.csv", (_TAQA_TIME,), "",
                (1, "W"), 1, 280, 8, 0),
    ShortSeries("requests_hourly", REPORTED, f"{_NAB}realAWSCloudwatch/elb_request_count_8c0756.csv",
                ("timestamp",), "value", (1, "h"), 0, 336, 24, 24),
    ShortSeries("load_daily", REPORTED, f"{_ETT}ETTh1.csv", ("date",), "MULL", (1, "D"), 100, 600, 14, 7),
    ShortSeries("ozone_6_hourly", REPORTED, _AIR, ("Date", "Time"), "PT08_S5_O3", (6, "h"), 300, 500, 12, 4),
    ShortSeries("machine_hourly", REPORTED, f"{_NAB}realKnownCause/machine_temperature_system_failure.csv",
                ("timestamp",), "value", (1, "h"), 500, 500, 24, 24),
    ShortSeries("price_hourly", REPORTED, f"{_NAB}realAdExchange/exchange-2_cpm_results.csv", ("timestamp",),
                "value", (1, "h"), 0, 500, 24, 24),
    ShortSeries("orders_monthly", REPORTED, "text/excavator_work_orders/excavators.csv", ("BscStartDate",), "",
                (1, "M"), 0, 125, 6, 12),
)  # fmt: skip


@dataclass(frozen=True)
class ShortResult:
    """Mean absolute errors over all origins, and the share of true values within the intervals."""

    series: ShortSeries
    architecture: str
    error: float
    naive_error: float
    coverage: float
    seconds: float

    @property
    def ratio(self) -> float:
        """Error relative to the seasonal naive forecast."""
        return self.error / self.naive_error


def read_series(folder: Path, series: ShortSeries) -> tuple[NDArray[np.datetime64], Floats]:
    """Return times and means (or counts) of a series; empty periods are interpolated."""
    path = folder / series.file
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if all(row[name] for name in series.time_columns)]
    count, unit = series.period
    bins = np.array([_parse_time(row, series.time_columns) for row in rows]).astype(f"M8[{unit}]")
    numbers = bins.astype(np.int64) // count
    grid = np.arange(numbers.min(), numbers.max() + 1)
    values = [float(row[series.column]) if series.column else 1.0 for row in rows]
    # -200 stands for a missing value in the air quality data.
    is_value = np.array(values) != -200
    place, known = (numbers - grid[0])[is_value], np.array(values)[is_value]
    sums, counts = np.bincount(place, known, len(grid)), np.bincount(place, minlength=len(grid))
    means = sums if not series.column else sums / np.where(counts, counts, np.nan)
    empty = np.isnan(means)
    filled = np.where(empty, np.interp(grid, grid[~empty], means[~empty]), means)
    chosen = slice(series.first, series.first + series.rows)
    times: NDArray[np.datetime64] = (grid * count).astype(f"M8[{unit}]").astype("M8[s]")
    return times[chosen], filled[chosen].astype(np.float64)


def _parse_time(row: dict[str, str], columns: tuple[str, ...]) -> np.datetime64:
    date, *clock = " ".join(row[name] for name in columns).split(" ")
    if "/" in date:
        date = "-".join(part.zfill(2) for part in reversed(date.split("/")))
    clock = [part.zfill(8) for part in clock]
    return np.datetime64("T".join([date, *clock]))


def forecast_naive(values: Floats, series: ShortSeries) -> Floats:
    """Repeat the last season, or the last value."""
    last = values[-max(series.season, 1) :]
    return np.resize(last, series.horizon)


def measure(
    times: NDArray[np.datetime64], values: Floats, series: ShortSeries, architecture: str, budget: float
) -> ShortResult:
    """Train on the rows before each origin, forecast, and compare with what followed."""
    errors, naive_errors, covered = [], [], []
    began = time.process_time()
    for held_out in range(series.horizon, (ORIGINS + 1) * series.horizon, series.horizon):
        past, future = values[:-held_out], values[len(values) - held_out :][: series.horizon]
        rows = [
            {"time": str(moment), "value": value}
            for moment, value in zip(times[: len(past)], past.tolist(), strict=True)
        ]
        target = train_and_forecast(rows, series, architecture, budget)
        errors.append(np.abs(np.array(target["values"]) - future))
        naive_errors.append(np.abs(forecast_naive(past, series) - future))
        covered.append((np.array(target["lower"]) <= future) & (future <= np.array(target["upper"])))
    error, naive_error, coverage = (float(np.mean(part)) for part in (errors, naive_errors, covered))
    seconds = time.process_time() - began
    return ShortResult(series, architecture, error, naive_error, coverage, seconds)


def train_and_forecast(
    rows: list[dict[str, object]], series: ShortSeries, architecture: str, budget: float
) -> TargetForecast:
    """Return the forecast of a model that knows these rows only, as the server would make it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        text = "\n".join(["time,value", *(f"{row['time']},{row['value']}" for row in rows)])
        store = DatasetStore(folder / "datasets")
        dataset = store.receive(io.BytesIO(text.encode()), "series.csv").id
        options = ForecastingParser().parse_options(
            {
                "dataset": dataset,
                "target_columns": ["value"],
                "architecture": architecture,
                "future_steps": series.horizon,
                "time_budget_seconds": budget,
            }
        )
        family = ForecastingFamily()
        source = {"datasets": str(folder / "datasets"), "tenant": "default"}
        prepared = family.prepare(source, options, Resources(folder / "cache"))
        model = family.fit(prepared, options, no_progress)
        served = family.refit(model, prepared, options, no_progress)
        saved = folder / "version"
        saved.mkdir()
        family.save(served, prepared, saved)
        predictor = ForecastingPredictor.load(saved, Resources(folder / "cache"))
        (answer,) = predictor.predict([{"rows": rows}], {"coverage": COVERAGE})
        return answer["targets"]["value"]


def draw_cuts(folder: Path, series: ShortSeries, count: int, seed: int) -> list[ShortSeries]:
    """Return other cuts of the same table; the series itself without a count, none where the table is short."""
    if not count:
        return [series]
    spare = len(read_series(folder, replace(series, first=0, rows=10**9))[1]) - series.rows
    if spare < series.rows // 10:
        return []
    chance = np.random.default_rng([seed, *series.name.encode()])
    firsts, shares = chance.integers(0, spare, count), chance.uniform(0.6, 1.0, count)
    return [
        replace(series, name=f"{series.name}@{first}", first=int(first), rows=int(share * series.rows))
        for first, share in zip(firsts, shares, strict=True)
    ]


def measure_all(
    folder: Path, architectures: list[str], series_list: list[ShortSeries], budget: float
) -> Iterator[ShortResult]:
    """Measure every architecture on every series."""
    for series in series_list:
        times, values = read_series(folder, series)
        for architecture in architectures:
            result = measure(times, values, series, architecture, budget)
            print(
                json.dumps(
                    {
                        "series": series.name, "architecture": architecture, "ratio": round(result.ratio, 3),
                        "coverage": round(result.coverage, 3), "processor_seconds": round(result.seconds, 1),
                    }
                ),
                flush=True,
            )  # fmt: skip
            yield result


def summarize(results: list[ShortResult]) -> None:
    """Print the geometric mean of the ratios and the mean coverage, by set and architecture."""
    lines = []
    for group in (CHOSEN, REPORTED):
        for architecture in dict.fromkeys(result.architecture for result in results):
            own = [r for r in results if r.series.group == group and r.architecture == architecture]
            if own:
                ratio = float(np.exp(np.mean([np.log(result.ratio) for result in own])))
                coverages = [result.coverage for result in own]
                cells = f"{ratio:.3f}", f"{np.mean(coverages):.3f}", f"{min(coverages):.3f}"
                lines.append([group, architecture, str(len(own)), *cells])
    table("Short series", ["set", "architecture", "series", "error to naive", "coverage", "lowest"], lines)


def main() -> None:
    """Measure and print a table."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with the public data sets")
    command.add_argument("--architectures", nargs="+", default=["auto"])
    command.add_argument("--set", nargs="+", default=[CHOSEN, REPORTED], choices=[CHOSEN, REPORTED])
    command.add_argument("--budget", type=float, default=20.0, help="seconds for the choice of auto")
    command.add_argument(
        "--cuts", type=int, default=0, help="other cuts of each long table, instead of the twelve"
    )
    command.add_argument("--seed", type=int, default=1, help="of the cuts")
    arguments = command.parse_args()
    torch.set_num_threads(1)
    cuts = [
        cut
        for series in SERIES
        if series.group in arguments.set
        for cut in draw_cuts(arguments.data, series, arguments.cuts, arguments.seed)
    ]
    summarize(list(measure_all(arguments.data, arguments.architectures, cuts, arguments.budget)))


if __name__ == "__main__":
    main()
