"""The forecasting family: networks on windows of a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from prediction.contract import (
    JSON,
    Metric,
    Options,
    Progress,
    Resources,
    Scores,
    TrainingSource,
    artefact_errors,
)
from prediction.forecasting.data import preparation
from prediction.forecasting.data.preparation import PreparedForecastData
from prediction.forecasting.data.series import ForecastSeries, WindowSplit
from prediction.forecasting.data.windows import Rows
from prediction.forecasting.intervals import COVERAGES
from prediction.forecasting.model.backtest import Backtest, backtest, baselines
from prediction.forecasting.model.fitting import TrainedForecaster
from prediction.forecasting.model.rules import NETWORK, create_rule
from prediction.forecasting.model.search import refit_forecaster, train_forecaster
from prediction.forecasting.serving import downloads, figures
from prediction.forecasting.serving.predictor import ForecastingPredictor
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.export import as_numpy_function
from prediction.neural.family import PROBE_SIZE, NeuralFamily, ProbeInputs, load_predictor
from prediction.onnx import OnnxModel
from storage.times import format_nanoseconds

_REPORTED_COVERAGES = (0.5, 0.8, 0.9, 0.95)
# In standard deviations of the target with the largest one.
_PROBE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class LearntRows:
    """The last row that a model has learnt: its time in nanoseconds, where rows have times, and its number."""

    time: int | None
    row: int


@dataclass(frozen=True)
class ForecastInfo:
    """What a version's ``model_info.json`` says about its comparison with later ones.

    Parameters
    ----------
    dataset_sha256 : str
        Of the table that it has learnt from.
    evaluated, refit : LearntRows
        What it had learnt when it was evaluated and, where it was fitted to all rows afterwards, what it knows now.
    """

    targets: tuple[str, ...]
    columns: frozenset[str]
    window: int
    steps: int
    dataset_sha256: str
    evaluated: LearntRows
    refit: LearntRows | None


class ForecastingFamily(NeuralFamily[PreparedForecastData, TrainedForecaster, ForecastInfo]):
    """Trains and compares forecasters."""

    name: ClassVar[str] = "forecasting"
    headline: ClassVar[Metric] = Metric("mse", "z²")

    def prepare(self, source: TrainingSource, options: Options, resources: Resources) -> PreparedForecastData:
        return preparation.prepare(source, options, resources.cache_dir / "checkpoints")

    def train(
        self,
        prepared: PreparedForecastData,
        options: Options,
        progress: Progress,
        checkpoint: Checkpoint | None,
    ) -> TrainedForecaster:
        return train_forecaster(prepared, options, progress, checkpoint)

    def evaluate(self, model: TrainedForecaster, prepared: PreparedForecastData) -> Scores:
        # A model that was fitted to all rows afterwards has no error of its own on them.
        model = model.evaluated or model
        evaluation = model.evaluation
        scores = _score(evaluation.served, evaluation.baselines, prepared.test)
        # What answers is judged; where that is a rule, the network's own error stands beside it.
        network = {"network.mse": evaluation.network_mse, "validation.mse": evaluation.validation_mse}
        scores = replace(scores, metrics={**scores.metrics, **network})
        example = figures.forecast_last_window(model, prepared.test)
        compared = figures.draw_comparison(model.trials)
        return replace(scores, figures=[*scores.figures, *figures.draw_example(example), *compared])

    def refit(
        self, model: TrainedForecaster, prepared: PreparedForecastData, options: Options, progress: Progress
    ) -> TrainedForecaster:
        """Fit a closed form to all rows; the weights of other networks serve as evaluated."""
        return refit_forecaster(model, prepared)

    def parse_info(self, info: JSON) -> ForecastInfo:
        learnt, refit = info["data"], info.get("refit")
        return ForecastInfo(
            targets=tuple(info["target_columns"]),
            columns=frozenset(info["columns"]),
            window=info["window_size"],
            steps=info["future_steps"],
            dataset_sha256=learnt["dataset_sha256"],
            evaluated=LearntRows(learnt["known_until"], learnt["known_until_row"]),
            refit=LearntRows(refit["known_until"], refit["known_until_row"]) if refit else None,
        )

    def is_comparable(self, info: ForecastInfo, prepared: PreparedForecastData) -> bool:
        """Require the same targets and steps, and a test part after every row the evaluated champion has learnt."""
        series = prepared.test.series
        return (
            info.targets == tuple(series.target_names)
            and info.steps == series.steps
            and info.window <= series.window
            and info.columns <= set(series.columns)
            and _is_tested_after(prepared, info.evaluated, info.dataset_sha256)
        )

    def score_champion(self, folder: Path, prepared: PreparedForecastData) -> Scores:
        predictor, info = load_predictor(ForecastingPredictor, folder), self.read_info(folder)
        is_network = predictor.postprocessor.model_used == NETWORK
        if is_network and info.refit and not _is_tested_after(prepared, info.refit, info.dataset_sha256):
            # What answers has learnt rows of the test part; its predecessor, which was evaluated, has not.
            with artefact_errors(f"Version {folder.name}"):
                predictor.network = OnnxModel(folder / downloads.EVALUATED_FILE)
        postprocessor, series = predictor.postprocessor, prepared.test.series
        columns = [series.columns.index(name) for name in postprocessor.columns]

        def forecast(split: WindowSplit, starts: Rows) -> NDArray[np.float32]:
            # The champion has scaling, window and columns of its own; errors are compared in today's z units.
            last = None if postprocessor.future_names else series.window
            windows = split.spans(starts)[:, series.window - postprocessor.window : last, columns]
            values = series.scaler.inverse_transform(windows, columns)
            output = predictor.network(postprocessor.scaler.transform(values))
            z = output.reshape(len(starts), series.steps, -1)
            forecasts = postprocessor.scaler.inverse_transform(z, list(postprocessor.targets))
            targets = list(series.targets)
            scaled = (forecasts - series.scaler.mean[targets]) / series.scaler.scale[targets]
            return scaled.astype(np.float32)

        naive = {name: backtest(rule, prepared.test) for name, rule in baselines(series).items()}
        return _score(backtest(forecast, prepared.test), naive, prepared.test)

    def save(self, model: TrainedForecaster, prepared: PreparedForecastData, folder: Path) -> None:
        scores = self.evaluate(model, prepared).to_dict()
        downloads.write_files(model, prepared, scores, folder)

    def create_predictor(
        self, model: TrainedForecaster, prepared: PreparedForecastData
    ) -> ForecastingPredictor:
        postprocessor = downloads.create_postprocessor(model, prepared.test.series)
        if postprocessor.model_used == NETWORK:
            return ForecastingPredictor(postprocessor, as_numpy_function(model.network))
        series = prepared.test.series
        rule = create_rule(postprocessor.model_used, series.targets, series.steps, series.season)
        return ForecastingPredictor(postprocessor, rule)

    def probe_inputs(self, prepared: PreparedForecastData) -> ProbeInputs:
        series = prepared.test.series
        starts = prepared.test.subsample(PROBE_SIZE).starts
        # A short test part repeats its windows.
        starts = starts[np.arange(PROBE_SIZE) % len(starts)]
        largest_scale = float(series.scaler.scale[list(series.targets)].max())
        inputs: list[dict[str, object]] = []
        for start in starts.tolist():
            horizon = start + series.window
            rows = _to_rows(series, slice(start, horizon))
            known = {"future": _to_rows(series, slice(horizon, start + series.span))} if series.future else {}
            inputs.append({"rows": rows, **known})
        return ProbeInputs(inputs, _PROBE_TOLERANCE * max(1.0, largest_scale))


def _score(measured: Backtest, naive: dict[str, Backtest], test: WindowSplit) -> Scores:
    return Scores(
        headline=measured.mse,
        metrics=_compute_metrics(measured, test.series),
        baselines={name: baseline.mse for name, baseline in naive.items()},
        # Windows overlap; blocks of one horizon share little.
        held_out=len(measured.losses),
        beats_baselines=all(measured.mse < baseline.mse for baseline in naive.values()),
        losses=measured.losses,
        figures=list(figures.draw_backtest(measured, naive)),
    )


def _is_tested_after(prepared: PreparedForecastData, learnt: LearntRows, dataset_sha256: str) -> bool:
    """Tell whether every row that the test part forecasts comes after the last row that a model knows.

    Parameters
    ----------
    dataset_sha256 : str
        Of the table that the model was trained on.
    """
    series = prepared.test.series
    first = int(prepared.test.starts[0]) + series.window
    if series.times is not None and learnt.time is not None:
        return bool(series.times[first] > learnt.time)
    # Without times, row numbers are comparable only within the same upload.
    is_same_dataset: bool = dataset_sha256 == prepared.facts["dataset_sha256"]
    return is_same_dataset and first > learnt.row


def _compute_metrics(measured: Backtest, series: ForecastSeries) -> dict[str, float]:
    """Return errors in z units and in the data's, by target and at four steps; measured coverage."""
    metrics = {"mse": measured.mse, "mae": measured.mae}
    for number, column in enumerate(series.targets):
        name, scale = series.columns[column], float(series.scaler.scale[column])
        metrics[f"{name}.mse"] = float(measured.squared[:, number].mean())
        metrics[f"{name}.mae"] = float(measured.absolute[:, number].mean())
        metrics[f"{name}.mae_units"] = metrics[f"{name}.mae"] * scale
        metrics[f"{name}.rmse_units"] = metrics[f"{name}.mse"] ** 0.5 * scale
    for step in sorted({1, -(-series.steps // 4), -(-series.steps // 2), series.steps}):
        metrics[f"step_{step}.mse"] = float(measured.squared[step - 1].mean())
        metrics[f"step_{step}.mae"] = float(measured.absolute[step - 1].mean())
    if len(measured.coverage):
        for coverage in _REPORTED_COVERAGES:
            metrics[f"coverage_{coverage:g}"] = float(np.interp(coverage, COVERAGES, measured.coverage))
    return metrics


def _to_rows(series: ForecastSeries, window: slice) -> list[dict[str, float | str | None]]:
    """Return some rows as a client would send them."""
    values = series.scaler.inverse_transform(series.z[window], list(range(len(series.columns))))
    rows: list[dict[str, float | str | None]] = [
        dict(zip(series.columns, row, strict=True)) for row in values.tolist()
    ]
    if series.times is not None and series.time_column:
        for row, time in zip(rows, series.times[window], strict=True):
            row[series.time_column] = format_nanoseconds(int(time))
    return rows
