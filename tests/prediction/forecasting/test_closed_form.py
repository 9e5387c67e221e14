"""The closed-form solution: what it says of its errors is true, and it finds what is there to be found."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from errors import TrainingCancelled, TrainingFailed
from prediction.forecasting.data.series import ForecastSeries, StandardScaling, WindowSplit
from prediction.forecasting.model.backtest import seasonal_naive
from prediction.forecasting.model.fitting import forecast_function
from prediction.forecasting.model.ridge import num_maps, solve_ridge
from prediction.forecasting.networks import RidgeLinear

WINDOW, STEPS = 32, 5


def parts(values: np.ndarray, window: int = WINDOW) -> tuple[WindowSplit, WindowSplit, WindowSplit]:
    """Training, validation and test of z-scored columns that are all targets."""
    count = values.shape[1]
    scaler = StandardScaling(np.zeros(count), np.ones(count), len(values))
    names = tuple("abcdefg"[:count])
    series = ForecastSeries(names, tuple(range(count)), values.astype(np.float32), scaler, window, STEPS)
    cuts = np.array([0, 0.6, 0.8, 1.0]) * len(values)
    starts = np.arange(len(values) - series.span + 1)
    found = [
        WindowSplit(series, starts[(starts >= first) & (starts + series.span <= end)])
        for first, end in itertools.pairwise(cuts)
    ]
    return found[0], found[1], found[2]


def network_for(part: WindowSplit, *, maps: int | None = None, residual_to_last: bool = True) -> RidgeLinear:
    series = part.series
    wanted = maps or len(series.targets)
    made = RidgeLinear(len(series.columns), series.output_size, series.window, STEPS, maps=wanted)
    made.set_targets(list(series.targets), residual_to_last=residual_to_last)
    return made


def error(network: RidgeLinear, part: WindowSplit) -> float:
    off = forecast_function(network)(part, part.starts) - part.futures(part.starts)
    return float((off.astype(np.float64) ** 2).mean())


def rhythms(rows: int = 1500, noise: float = 0.3) -> np.ndarray:
    """Two columns of different rhythms."""
    chance, at = np.random.default_rng(0), np.arange(rows)
    both = np.stack([np.sin(2 * np.pi * at / 24), np.sign(np.cos(2 * np.pi * at / 7))], axis=1)
    return both + noise * chance.normal(size=(rows, 2))


@pytest.mark.parametrize("residual_to_last", [True, False])
@pytest.mark.parametrize("maps", [1, 2])
def test_the_losses_told_are_those_of_the_network(maps, residual_to_last):
    train, validation, _ = parts(rhythms())
    network = network_for(train, maps=maps, residual_to_last=residual_to_last)
    solved = solve_ridge(network, train, validation)
    assert solved.history[-1]["train_loss"] == pytest.approx(error(network, train), rel=1e-4)
    assert solved.history[-1]["val_loss"] == pytest.approx(error(network, validation), rel=1e-4)


def test_a_longer_window_never_makes_the_validation_worse():
    train, validation, _ = parts(rhythms())
    told = []
    solve_ridge(network_for(train), train, validation, lambda stage, **facts: told.append(facts))
    losses = [facts["val_loss"] for facts in told]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 1.5
    assert [facts["epoch"] for facts in told] == list(range(1, told[0]["of"] + 1))


def test_one_map_is_the_ridge_regression_of_a_library():
    """Where there is one target and one row to look at, nothing is left to mix but penalties."""
    from sklearn.linear_model import Ridge

    train, validation, test = parts(rhythms(noise=0.5)[:, :1], window=1)
    network = network_for(train, residual_to_last=False)
    solve_ridge(network, train, validation)
    inputs, futures = (train.histories(train.starts)[:, :, 0], train.futures(train.starts)[:, :, 0])
    penalty = 0.01 * (inputs**2).mean() * len(inputs)
    expected = Ridge(penalty).fit(inputs, futures).predict(test.histories(test.starts)[:, :, 0])
    np.testing.assert_allclose(forecast_function(network)(test, test.starts)[:, :, 0], expected, atol=0.02)


def test_targets_that_differ_get_maps_of_their_own():
    train, validation, test = parts(rhythms(noise=0.05))
    shared, own = network_for(train, maps=1), network_for(train)
    for network in (shared, own):
        solve_ridge(network, train, validation)
    assert error(own, test) < error(shared, test)
    assert error(own, test) < 0.02


def test_where_nothing_can_be_known_it_stays_as_it_is():
    walk = np.random.default_rng(1).normal(size=(900, 2)).cumsum(axis=0) / 10
    train, validation, test = parts(walk)
    network = network_for(train)
    solve_ridge(network, train, validation)
    level = test.histories(test.starts)[:, -1:, :]
    naive = float(((level - test.futures(test.starts)) ** 2).mean())
    assert error(network, test) < 1.1 * naive


def test_it_errs_no_more_on_validation_than_the_season_before():
    train, validation, _ = parts(rhythms(rows=260, noise=0.02))
    seasonal = dataclasses.replace(train.series, season=24)
    train, validation = WindowSplit(seasonal, train.starts[:3]), WindowSplit(seasonal, validation.starts)
    solved = solve_ridge(network_for(train), train, validation)
    naive = seasonal_naive(validation, validation.starts) - validation.futures(validation.starts)
    assert solved.history[0]["val_loss"] <= float((naive**2).mean()) * 1.001


def test_a_constant_column_is_forecast_as_constant():
    train, validation, test = parts(np.zeros((300, 1)))
    network = network_for(train)
    solve_ridge(network, train, validation)
    assert error(network, test) == 0.0


def test_the_same_windows_make_the_same_weights():
    train, validation, _ = parts(rhythms())
    one, two = network_for(train), network_for(train)
    for network in (one, two):
        solve_ridge(network, train, validation)
    assert torch.equal(one.weight, two.weight)


def test_values_beyond_all_sums_are_refused():
    values = rhythms()
    values[100] = 1e30
    train, validation, _ = parts(values)
    with pytest.raises(TrainingFailed, match="extreme"):
        solve_ridge(network_for(train), train, validation)


def test_a_solution_cut_short_keeps_the_lengths_that_are_solved():
    train, validation, _ = parts(rhythms())
    asked = itertools.count()
    network = network_for(train)
    solved = solve_ridge(network, train, validation, cancelled=lambda: next(asked) > 11)
    assert (len(solved.history), solved.stop_reason) == (2, "the time is up")
    assert error(network, validation) == pytest.approx(solved.history[-1]["val_loss"], rel=1e-3)
    with pytest.raises(TrainingCancelled):
        solve_ridge(network, train, validation, cancelled=lambda: True)


def test_fewer_products_are_fewer_windows():
    train, validation, _ = parts(rhythms(noise=0.1))
    network = network_for(train)
    few = solve_ridge(network, train, validation, max_products=2 * 33 * 38 * 200).history[-1]
    assert few["val_loss"] < 0.1
    assert few["train_loss"] != solve_ridge(network, train, validation).history[-1]["train_loss"]


def test_very_many_targets_share_one_map():
    assert num_maps(7, 720, 720) == 7
    assert num_maps(800, 720, 96) == 1
