"""Charts of a forecasting model for the report: errors along the horizon, coverage, the last window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from prediction.figures import Figure, bars, line
from prediction.forecasting.data.series import WindowSplit
from prediction.forecasting.intervals import COVERAGES, DEFAULT_COVERAGE, interpolate_half_widths
from prediction.forecasting.model.backtest import Backtest
from prediction.forecasting.model.fitting import ArchitectureTrial, TrainedForecaster, served_function
from prediction.forecasting.serving.plot import ForecastExample

_MAX_TARGETS = 3


def forecast_last_window(model: TrainedForecaster, test: WindowSplit) -> ForecastExample:
    """Forecast the newest test window."""
    series, last = test.series, test.starts[-1:]
    half_width = interpolate_half_widths(model.half_widths, DEFAULT_COVERAGE)
    return ForecastExample(
        names=series.target_names,
        history=series.to_units(test.histories(last)[0][:, list(series.targets)]),
        truth=series.to_units(test.futures(last)[0]),
        forecast=series.to_units(served_function(model, series)(test, last)[0]),
        half_width=half_width * series.scaler.scale[list(series.targets)],
    )


def draw_backtest(measured: Backtest, naive: Mapping[str, Backtest]) -> Iterator[Figure]:
    """Yield the errors by steps ahead of model and baselines, and the measured coverage of the intervals."""
    steps = list(range(1, len(measured.absolute) + 1))
    results = {"this model": measured, **naive}
    curves = {name: (steps, result.absolute.mean(axis=1)) for name, result in results.items()}
    yield line("Mean absolute error by steps ahead", "steps ahead", "z units", curves)
    if len(measured.coverage):
        curve = {"measured": (COVERAGES, measured.coverage)}
        yield line("Coverage of the intervals", "promised", "measured", curve, diagonal=True)


def draw_comparison(trials: Sequence[ArchitectureTrial]) -> Iterator[Figure]:
    """Yield the errors of the architectures that were compared, where there were some."""
    validation = {trial["architecture"]: mse for trial in trials if (mse := trial["val_mse"]) is not None}
    if not validation:
        return
    test = {trial["architecture"]: trial["test_mse"] for trial in trials if "test_mse" in trial}
    labels = list(validation)
    groups = {"validation": list(validation.values())}
    if test.keys() >= validation.keys():
        groups["test"] = [test[architecture] for architecture in labels]
    note = "The architecture with the lowest validation error is taken; a small advantage may be chance."
    yield bars("Architectures compared", "mean squared error, z²", labels, groups, note)


def draw_example(example: ForecastExample) -> Iterator[Figure]:
    """Yield the newest test window of each target, in data units."""
    before, ahead = np.arange(1 - len(example.history), 1), np.arange(1, len(example.truth) + 1)
    for column, name in enumerate(example.names[:_MAX_TARGETS]):
        forecast, half_width = example.forecast[:, column], example.half_width[:, column]
        curves = {
            "history": (before, example.history[:, column]),
            "what followed": (ahead, example.truth[:, column]),
            "forecast": (ahead, forecast),
        }
        band = (f"{DEFAULT_COVERAGE:.0%} interval", ahead, forecast - half_width, forecast + half_width)
        title = f"Newest test window: {name}"
        yield line(title, "rows from the forecast's origin", name, curves, band=band)
