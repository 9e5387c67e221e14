"""What columns known in advance, such as planned loads or calendar flags, change of the targets at the same row.

Regression with autocorrelated errors: least squares on series from which an autoregression has taken what their own
past explains, in turn with the autoregression of what the columns leave unexplained (Cochrane and Orcutt, 1949).
One weight for all rows of the horizon, instead of one a step, so that a flag that was set a few times suffices. The
networks forecast the rest of the series, and the effects of the horizon are added to that.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prediction.contract import Options
from prediction.forecasting.data.series import ForecastSeries, WindowSplit
from prediction.forecasting.model.fitting import build_network, forecast_function
from prediction.forecasting.model.ridge import solve_ridge
from prediction.forecasting.model.rolling import measure_residuals
from prediction.forecasting.networks import RidgeLinear

Floats = NDArray[np.float64]

# The weights settle in two or three turns.
_TURNS = 5
# Of the squared weights, in mean variances of a column: keeps columns that tell the same from cancelling out.
_PENALTY = 1e-3
# Multiplications for a comparison with and without effects: a few seconds of a core.
_MAX_PRODUCTS = 2e10


def choose_effects(train: WindowSplit, validation: WindowSplit, options: Options) -> Tensor | None:
    """Return the effects ``(n_features, n_targets)`` that lower the validation error; None where none does.

    A linear forecaster is solved with and without them. Each target decides for itself.
    """
    series = train.series
    if not series.future:
        return None
    effects = estimate_effects(train)
    errors = []
    for some in (None, effects):
        network, _ = build_network("RidgeLinear", series, options)
        assert isinstance(network, RidgeLinear)
        if some is not None:
            network.set_effects(torch.from_numpy(some))
        learn, judge = train.subtract_effects(some), validation.subtract_effects(some)
        solve_ridge(network, learn, judge, max_products=_MAX_PRODUCTS)
        residuals = measure_residuals(forecast_function(network), validation).residuals
        errors.append((residuals.astype(np.float64) ** 2).mean(axis=(0, 1)))
    chosen = effects * (errors[1] < errors[0])
    return torch.from_numpy(chosen) if chosen.any() else None


def estimate_effects(windows: WindowSplit) -> NDArray[np.float32]:
    """Return what each column known in advance changes of each target, zero for the others.

    Returns
    -------
    ndarray of float32, shape (n_features, n_targets)
        z units of the target by z unit of the column.
    """
    series = windows.series
    lags = _list_lags(series)
    rows = _find_rows(windows, lags[-1])
    known = series.z[:, series.future].astype(np.float64)
    effects = np.zeros((len(series.columns), len(series.targets)), dtype=np.float32)
    for number, target in enumerate(series.targets):
        values = series.z[:, target].astype(np.float64)
        weights = np.zeros(len(series.future))
        for _ in range(_TURNS):
            unexplained = values - known @ weights
            own_past = np.stack([unexplained[rows - lag] for lag in lags], axis=1)
            shares = _solve(own_past, unexplained[rows])
            new, columns = (_innovate(part, rows, lags, shares) for part in (values, known))
            weights = _solve(columns, new)
        effects[list(series.future), number] = weights
    return effects


def _list_lags(series: ForecastSeries) -> list[int]:
    """Return the rows that an autoregression looks back: the newest ones, and those of a season ago."""
    season = series.season
    return [lag for lag in sorted({1, 2, 3, season, season + 1}) if 0 < lag <= series.window]


def _find_rows(windows: WindowSplit, reach: int) -> NDArray[np.int64]:
    """Return the rows within the windows that have so many complete rows before them."""
    starts, series = windows.starts, windows.series
    changes = np.zeros(len(series.z) + 1, dtype=np.int64)
    np.add.at(changes, starts + reach, 1)
    np.add.at(changes, starts + series.span, -1)
    rows: NDArray[np.int64] = np.flatnonzero(np.cumsum(changes))
    return rows


def _innovate(values: Floats, rows: NDArray[np.int64], lags: list[int], shares: Floats) -> Floats:
    """Return what the own past does not explain of some rows."""
    new: Floats = values[rows] - sum(
        share * values[rows - lag] for lag, share in zip(lags, shares, strict=True)
    )
    return new


def _solve(inputs: Floats, outputs: Floats) -> Floats:
    """Return the weights of a ridge regression with a constant."""
    centered = inputs - inputs.mean(axis=0)
    squares = centered.T @ centered
    penalty = _PENALTY * max(float(np.trace(squares)) / len(squares), 1e-12)
    products = centered.T @ (outputs - outputs.mean())
    weights: Floats = np.linalg.solve(squares + penalty * np.eye(len(squares)), products)
    return weights
