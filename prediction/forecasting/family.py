"""Forecasting, tied to the contract."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from prediction.contract import (
    JSON,
    Champion,
    Metric,
    ModelFamily,
    ParityProbe,
    Progress,
    Resources,
    Scores,
)
from prediction.forecasting.data import preparation
from prediction.forecasting.data.preparation import PreparedForecastData
from prediction.forecasting.data.series import ForecastSeries, WindowSplit
from prediction.forecasting.data.windows import Rows
from prediction.forecasting.intervals import LEVELS
from prediction.forecasting.model.backtest import Backtest, backtest, baselines
from prediction.forecasting.model.fitting import TrainedForecaster, forecast_function, train_forecaster
from prediction.forecasting.serving import downloads, figures
from prediction.forecasting.serving.postprocess import DEFAULT_COVERAGE
from prediction.forecasting.serving.predictor import ForecastingPredictor
from prediction.neural.checkpoint import Checkpoint
from storage.times import format_nanoseconds

_PROBES = 64
_REPORTED_COVERAGES = (0.5, 0.8, 0.9, 0.95)


class ForecastingFamily(ModelFamily[PreparedForecastData, TrainedForecaster]):
    """Networks on windows of a dataset; the judged weights serve."""

    name: ClassVar[str] = "forecasting"
    headline: ClassVar[Metric] = Metric("mse", "z²")

    def prepare(self, source: JSON, options: JSON, resources: Resources) -> PreparedForecastData:
        return preparation.prepare(source, options, resources.cache_dir / "checkpoints")

    def fit(self, prepared: PreparedForecastData, options: JSON, progress: Progress) -> TrainedForecaster:
        folder = getattr(prepared, "checkpoints", None)
        with Checkpoint.temporary_for(folder, [prepared.fingerprint, options]) as checkpoint:
            return train_forecaster(prepared, options, progress, checkpoint)

    def evaluate(self, model: TrainedForecaster, prepared: PreparedForecastData) -> Scores:
        measured = backtest(forecast_function(model.network), prepared.test, model.margins)
        scores = _scores(measured, prepared.test)
        newest = figures.of_last_window(model, prepared.test, DEFAULT_COVERAGE)
        return replace(scores, figures=[*scores.figures, *newest])

    def evaluate_champion(
        self, champion: Champion, prepared: PreparedForecastData, options: JSON
    ) -> Scores | None:
        info = json.loads((champion.folder / "model_info.json").read_text(encoding="utf-8"))
        if not _is_comparable(info, prepared):
            return None
        series: ForecastSeries = prepared.test.series
        predictor = ForecastingPredictor.load(champion.folder, Resources(Path()))
        places = [series.columns.index(name) for name in info["columns"]]

        def forecasts(part: WindowSplit, starts: Rows) -> NDArray[np.float32]:
            values = series.scaler.inverse_transform(
                part.histories(starts)[:, -info["window_size"] :, places], places
            )
            scaler = predictor.answering.scaler
            output = predictor.network(scaler.transform(values)).reshape(len(starts), series.steps, -1)
            back = scaler.inverse_transform(output, list(predictor.answering.targets))
            targets = list(series.targets)
            again: NDArray[np.float64] = (back - series.scaler.mean[targets]) / series.scaler.scale[targets]
            return again.astype(np.float32)

        return _scores(backtest(forecasts, prepared.test), prepared.test)

    def save(self, model: TrainedForecaster, prepared: PreparedForecastData, folder: Path) -> None:
        scores = self.evaluate(model, prepared).to_dict()
        downloads.write(model, prepared, scores, folder)

    def build_probe(self, model: TrainedForecaster, prepared: PreparedForecastData) -> ParityProbe:
        test: WindowSplit = prepared.test
        starts = test.subsample(_PROBES).starts
        starts = starts[np.arange(_PROBES) % len(starts)]
        inputs = [{"rows": _rows_of(test.series, int(start))} for start in starts]

        def network(windows: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.inference_mode():
                output: NDArray[np.float32] = model.network(torch.from_numpy(windows)).numpy()
            return output

        predictor = ForecastingPredictor(downloads.answering(model, test.series), network)
        expected = predictor.predict(inputs, {})
        largest = float(test.series.scaler.scale[list(test.series.targets)].max())
        return ParityProbe(inputs, expected, tolerance=1e-4 * max(1.0, largest))


def _scores(measured: Backtest, test: WindowSplit) -> Scores:
    series = test.series
    beside = {name: backtest(forecasts, test) for name, forecasts in baselines(series).items()}
    naive = {name: told.mse for name, told in beside.items()}
    return Scores(
        headline=measured.mse,
        metrics=_metrics(measured, series),
        baselines=naive,
        held_out=measured.windows,
        beats_baselines=all(measured.mse < worse for worse in naive.values()),
        losses=measured.losses,
        figures=list(figures.of_backtest(measured, beside)),
    )


def _metrics(measured: Backtest, series: ForecastSeries) -> dict[str, float]:
    """Errors in z units and in the data's, by target and at four steps of the horizon; measured coverage."""
    found = {"mse": measured.mse, "mae": measured.mae}
    for place, column in enumerate(series.targets):
        name, scale = series.columns[column], float(series.scaler.scale[column])
        found[f"{name}.mse"] = float(measured.squared[:, place].mean())
        found[f"{name}.mae"] = float(measured.absolute[:, place].mean())
        found[f"{name}.mae_units"] = found[f"{name}.mae"] * scale
        found[f"{name}.rmse_units"] = found[f"{name}.mse"] ** 0.5 * scale
    for step in sorted({1, -(-series.steps // 4), -(-series.steps // 2), series.steps}):
        found[f"step_{step}.mse"] = float(measured.squared[step - 1].mean())
        found[f"step_{step}.mae"] = float(measured.absolute[step - 1].mean())
    if len(measured.covered):
        for level in _REPORTED_COVERAGES:
            found[f"coverage_{level:g}"] = float(np.interp(level, LEVELS, measured.covered))
    return found


def _is_comparable(info: JSON, prepared: PreparedForecastData) -> bool:
    """Same question, and no test row that the champion has learnt from or been chosen by."""
    series: ForecastSeries = prepared.test.series
    same = (
        info["target_columns"] == list(series.target_names)
        and info["future_steps"] == series.steps
        and info["window_size"] <= series.window
        and set(info["columns"]) <= set(series.columns)
    )
    return same and _is_newer(info["data"], prepared)


def _is_newer(known: JSON, prepared: PreparedForecastData) -> bool:
    series: ForecastSeries = prepared.test.series
    first = int(prepared.test.starts[0])
    if series.times is not None and known["known_until"] is not None:
        return bool(series.times[first] > known["known_until"])
    same_rows: bool = known["dataset_sha256"] == prepared.facts["dataset_sha256"]
    return same_rows and first > known["known_until_row"]


def _rows_of(series: ForecastSeries, start: int) -> list[JSON]:
    """One window as a client would send it."""
    window = slice(start, start + series.window)
    values = series.scaler.inverse_transform(series.z[window], list(range(len(series.columns))))
    rows: list[dict[str, Any]] = [dict(zip(series.columns, row, strict=True)) for row in values.tolist()]
    if series.times is not None and series.time_column:
        for row, moment in zip(rows, series.times[window], strict=True):
            row[series.time_column] = format_nanoseconds(int(moment))
    return rows
