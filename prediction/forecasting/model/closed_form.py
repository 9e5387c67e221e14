"""Models without epochs: fit them to windows, to a fold of a backtest, and again to all windows."""

from __future__ import annotations

from collections.abc import Callable

from prediction.contract import Progress, no_progress
from prediction.forecasting.data.series import WindowSplit
from prediction.forecasting.model.ridge import MAX_PRODUCTS, ClosedFormFit, resolve_ridge, solve_ridge
from prediction.forecasting.model.rolling import Fold
from prediction.forecasting.model.smoothing import solve_smoothing
from prediction.forecasting.networks import Forecaster, RidgeLinear, Smoothing


def is_closed_form(network: Forecaster) -> bool:
    """Tell whether a network's weights are computed instead of learnt in epochs."""
    return isinstance(network, RidgeLinear)


def solve(
    network: Forecaster, train: WindowSplit, validation: WindowSplit, progress: Progress = no_progress
) -> ClosedFormFit:
    """Set the weights of a network in closed form; its effects, where it has some, are set already."""
    train, validation = (_subtract_effects(part, network) for part in (train, validation))
    if isinstance(network, Smoothing):
        return solve_smoothing(network, train, validation, progress)
    assert isinstance(network, RidgeLinear)
    return solve_ridge(network, train, validation, progress)


def solve_fold(
    network: Forecaster,
    fold: Fold,
    *,
    max_products: float = MAX_PRODUCTS,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Set the weights from what a fold may learn from; its judged windows are not looked at."""
    if isinstance(network, Smoothing):
        solve_smoothing(network, _subtract_effects(fold.learn, network), cancelled=cancelled)
        return
    assert isinstance(network, RidgeLinear)
    train, validation = (_subtract_effects(part, network) for part in fold.split_learn())
    solve_ridge(network, train, validation, max_products=max_products, cancelled=cancelled)


def solve_again(network: Forecaster, windows: WindowSplit, fit: ClosedFormFit) -> None:
    """Set the weights from more windows, with the choices of an earlier fit."""
    windows = _subtract_effects(windows, network)
    if isinstance(network, Smoothing):
        solve_smoothing(network, windows)
        return
    assert isinstance(network, RidgeLinear)
    resolve_ridge(network, windows, fit)


def _subtract_effects(windows: WindowSplit, network: Forecaster) -> WindowSplit:
    return windows.subtract_effects(None if network.effects is None else network.effects.numpy())
