"""Models without epochs: fit them to windows, to a fold of a backtest, and again to all windows."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from prediction.contract import Progress, no_progress
from prediction.forecasting.data.series import WindowSplit
from prediction.forecasting.model.exponential import solve_exponential
from prediction.forecasting.model.fitting import forecast_function
from prediction.forecasting.model.ridge import MAX_PRODUCTS, ClosedFormFit, resolve_ridge, solve_ridge
from prediction.forecasting.model.rolling import Fold, is_short, measure_residuals, split_windows
from prediction.forecasting.model.smoothing import solve_smoothing
from prediction.forecasting.networks import Combination, Forecaster, RidgeLinear, Smoothing
from prediction.neural.callbacks import EpochRecord


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
    if not isinstance(network, Combination):
        return solve_ridge(network, train, validation, progress)
    return _solve_combination(network, train, validation, progress)


def solve_fold(
    network: Forecaster,
    fold: Fold,
    *,
    max_products: float = MAX_PRODUCTS,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Set the weights from what a fold may learn from; its judged windows are not looked at."""
    learn = _subtract_effects(fold.learn, network)
    if isinstance(network, Smoothing):
        solve_smoothing(network, learn, cancelled=cancelled)
        return
    assert isinstance(network, RidgeLinear)
    train, validation = split_windows(learn)
    if not isinstance(network, Combination):
        solve_ridge(network, train, validation, max_products=max_products, cancelled=cancelled)
        return
    smoothing, exponential, ridge = _build_parts(network)
    solve_smoothing(smoothing, learn, cancelled=cancelled)
    solve_exponential(exponential, learn)
    solve_ridge(ridge, train, validation, max_products=max_products, cancelled=cancelled)
    _set_mean(network, smoothing, exponential, ridge)


def solve_again(network: Forecaster, windows: WindowSplit, fit: ClosedFormFit) -> None:
    """Set the weights from more windows, with the choices of an earlier fit.

    The mixture of a short series is chosen again: its validation part had a few windows only.
    """
    windows = _subtract_effects(windows, network)
    if isinstance(network, Smoothing):
        solve_smoothing(network, windows)
        return
    assert isinstance(network, RidgeLinear)
    if not isinstance(network, Combination):
        _resolve(network, windows, fit)
        return
    smoothing, exponential, ridge = _build_parts(network)
    solve_smoothing(smoothing, windows)
    solve_exponential(exponential, windows)
    _resolve(ridge, windows, fit)
    _set_mean(network, smoothing, exponential, ridge)


def _solve_combination(
    network: Combination, train: WindowSplit, validation: WindowSplit, progress: Progress
) -> ClosedFormFit:
    """Set the weights from windows without effects; one entry a part, of the mean of the parts so far."""
    started = time.monotonic()
    smoothing, exponential, ridge = _build_parts(network)
    solve_exponential(exponential, train)
    solve_smoothing(smoothing, train)
    fit = solve_ridge(ridge, train, validation)
    history: list[EpochRecord] = []
    parts = exponential, smoothing, ridge
    # Without effects, as the windows are.
    mean, _, _ = _build_parts(network)
    for epoch in range(1, len(parts) + 1):
        _set_mean(mean, *parts[:epoch])
        train_loss, val_loss = (
            measure_residuals(forecast_function(mean), part).mse for part in (train, validation)
        )
        seconds = time.monotonic() - started
        history.append({"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, "seconds": seconds})
        progress(
            "epoch", epoch=epoch, done=epoch, of=len(parts), train_loss=train_loss, val_loss=val_loss,
            eta_seconds=0.0,
        )  # fmt: skip
    _set_mean(network, *parts)
    return ClosedFormFit(history, len(history), "all parts are solved", fit.mixing)


def _resolve(ridge: RidgeLinear, windows: WindowSplit, fit: ClosedFormFit) -> None:
    mixed = solve_ridge(ridge, *split_windows(windows)) if is_short(windows) else fit
    resolve_ridge(ridge, windows, mixed)


def _build_parts(network: Combination) -> tuple[Smoothing, RidgeLinear, RidgeLinear]:
    """Return the networks whose mean a combination is, of the same sizes and targets."""
    sizes = network.input_size, network.output_size, network.window_size, network.future_steps
    parts = (
        Smoothing(*sizes, maps=network.maps),
        RidgeLinear(*sizes, maps=network.maps),
        RidgeLinear(*sizes, maps=network.maps),
    )
    for part in parts:
        part.target_columns.copy_(network.target_columns)
        part.residual_to_last.copy_(network.residual_to_last)
    return parts


def _set_mean(network: RidgeLinear, *parts: RidgeLinear) -> None:
    with torch.no_grad():
        network.weight.copy_(torch.stack([part.weight for part in parts]).mean(dim=0))
        network.bias.copy_(torch.stack([part.bias for part in parts]).mean(dim=0))


def _subtract_effects(windows: WindowSplit, network: Forecaster) -> WindowSplit:
    return windows.subtract_effects(None if network.effects is None else network.effects.numpy())
