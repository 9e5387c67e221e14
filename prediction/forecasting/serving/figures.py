"""What a report draws of a forecasting model: errors along the horizon, honest intervals, the last window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from prediction.figures import Figure, line
from prediction.forecasting.data.series import WindowSplit
from prediction.forecasting.intervals import LEVELS, interpolate_half_widths
from prediction.forecasting.model.backtest import Backtest
from prediction.forecasting.model.fitting import TrainedForecaster, forecast_function

_MOST_TARGETS = 3


def of_backtest(measured: Backtest, naive: Mapping[str, Backtest]) -> Iterator[Figure]:
    """The error at each step ahead beside the naive forecasts, and the measured coverage of the intervals."""
    steps = list(range(1, len(measured.absolute) + 1))
    curves = {name: (steps, told.absolute.mean(axis=1)) for name, told in naive.items()}
    yield line(
        "Mean absolute error by steps ahead",
        "steps ahead",
        "z units",
        {"this model": (steps, measured.absolute.mean(axis=1)), **curves},
    )
    if len(measured.covered):
        curve = {"measured": (LEVELS, measured.covered)}
        yield line("Coverage of the intervals", "promised", "measured", curve, diagonal=True)


def of_last_window(model: TrainedForecaster, test: WindowSplit, coverage: float) -> Iterator[Figure]:
    """The newest test window: what came before, what followed, and what the model said, in data units."""
    series, last = test.series, test.starts[-1:]
    columns = list(series.targets)
    past = series.scaler.inverse_transform(test.histories(last)[0][:, columns], columns)
    truth = series.scaler.inverse_transform(test.futures(last)[0], columns)
    told = series.scaler.inverse_transform(forecast_function(model.network)(test, last)[0], columns)
    half = interpolate_half_widths(model.margins, coverage) * series.scaler.scale[columns]
    before, ahead = np.arange(1 - len(past), 1), np.arange(1, len(truth) + 1)
    for place, name in enumerate(series.target_names[:_MOST_TARGETS]):
        yield line(
            f"Newest test window: {name}",
            "rows from the forecast's origin",
            name,
            {
                "history": (before, past[:, place]),
                "what followed": (ahead, truth[:, place]),
                "forecast": (ahead, told[:, place]),
            },
            band=(
                f"{coverage:.0%} interval",
                ahead,
                told[:, place] - half[:, place],
                told[:, place] + half[:, place],
            ),
        )
