"""The mean of smoothing, one exponential smoothing and ridge regression; and when another model replaces it."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pytest
import torch

from prediction.forecasting.data.series import ForecastSeries, StandardScaling, WindowSplit
from prediction.forecasting.model import search
from prediction.forecasting.model.closed_form import solve, solve_again
from prediction.forecasting.model.exponential import list_rules, measure_next_row_errors, solve_exponential
from prediction.forecasting.model.fitting import ArchitectureTrial, forecast_function
from prediction.forecasting.model.ridge import resolve_ridge, solve_ridge
from prediction.forecasting.model.rolling import split_windows
from prediction.forecasting.model.search import compare_architectures, select_best
from prediction.forecasting.model.smoothing import solve_smoothing
from prediction.forecasting.networks import Combination, RidgeLinear, Smoothing

WINDOW, STEPS = 30, 5


def windows_of(values: np.ndarray, season: int = 0) -> WindowSplit:
    table = values.reshape(len(values), -1).astype(np.float32)
    count = table.shape[1]
    scaler = StandardScaling(np.zeros(count), np.ones(count), len(table))
    series = ForecastSeries(
        tuple("abc"[:count]), tuple(range(count)), table, scaler, WINDOW, STEPS, season=season
    )
    return WindowSplit(series, np.arange(len(table) - series.span + 1))


NetworkT = TypeVar("NetworkT", bound=RidgeLinear)


def network_of(kind: type[NetworkT], windows: WindowSplit, maps: int = 1) -> NetworkT:
    series = windows.series
    network = kind(len(series.columns), series.output_size, WINDOW, STEPS, maps=maps)
    network.set_targets(list(series.targets), residual_to_last=True)
    return network


@pytest.mark.parametrize("season", [0, 7])
def test_next_row_errors_are_those_of_the_recursion(season):
    values = np.random.default_rng(0).normal(size=60).cumsum()
    rules = list_rules(has_season=bool(season))
    counted = np.arange(60) >= 14
    errors = measure_next_row_errors(rules, values[:, None], np.ones(60, dtype=bool), counted, season)
    rule, expected = rules[-1], 0.0
    first = 3 * season or 8
    level = values[:first].mean()
    seasonal = [values[phase:first:season].mean() - level for phase in range(season)] or [0.0]
    for row, value in enumerate(values):
        phase = row % max(season, 1)
        change = value - level - seasonal[phase]
        expected += change**2 * counted[row]
        level += rule.level * change
        seasonal[phase] += rule.season * change
    assert errors[-1, 0] == pytest.approx(expected)


def test_a_walk_keeps_its_last_value_and_noise_its_mean():
    chance = np.random.default_rng(1)
    newest = []
    for values in (chance.normal(size=300).cumsum(), chance.normal(size=300)):
        windows = windows_of(values)
        network = network_of(RidgeLinear, windows)
        solve_exponential(network, windows)
        newest.append(network.weight[0, -1, 0].item())
    assert newest[0] > 0.6 and newest[1] < 0.1


def test_each_target_has_a_rule_of_its_own_where_it_has_a_map():
    chance = np.random.default_rng(2)
    both = np.stack([chance.normal(size=300).cumsum(), chance.normal(size=300)], axis=1)
    windows = windows_of(both)
    network = network_of(RidgeLinear, windows, maps=2)
    solve_exponential(network, windows)
    assert network.weight[0, -1, 0].item() > 0.6 and network.weight[1, -1, 0].item() < 0.1


def test_rows_that_no_window_touches_are_not_learnt():
    values = np.random.default_rng(3).normal(size=300)
    spoiled = values.copy()
    spoiled[150] = 1e6
    weights = []
    for some in (values, spoiled):
        windows = windows_of(some)
        starts = windows.starts
        beside = WindowSplit(windows.series, starts[(starts > 150) | (starts + windows.series.span <= 150)])
        network = network_of(RidgeLinear, windows)
        solve_exponential(network, beside)
        weights.append(network.weight.detach())
    assert torch.equal(*weights)


def test_a_combination_is_the_mean_of_its_parts():
    rows = np.arange(240)
    values = np.sin(2 * np.pi * rows / 7) + 0.3 * np.random.default_rng(4).normal(size=240)
    windows = windows_of(values, season=7)
    train, validation = split_windows(windows)
    network = network_of(Combination, windows)
    fit = solve(network, train, validation)
    smoothing = network_of(Smoothing, windows)
    parts = [smoothing, network_of(RidgeLinear, windows), network_of(RidgeLinear, windows)]
    solve_smoothing(smoothing, train)
    solve_exponential(parts[1], train)
    solve_ridge(parts[2], train, validation)
    forecasts = [forecast_function(part)(windows, windows.starts) for part in parts]
    mean = forecast_function(network)(windows, windows.starts)
    np.testing.assert_allclose(mean, np.mean(forecasts, axis=0), atol=1e-5)
    off = forecast_function(network)(validation, validation.starts) - validation.futures(validation.starts)
    assert fit.history[-1]["val_loss"] == pytest.approx(float((off**2).mean()), rel=1e-4)

    again = network_of(Combination, windows)
    solve_again(again, windows, fit)
    # The mixture of a short series is chosen again, as its validation part had a few windows only.
    resolve_ridge(parts[2], windows, solve_ridge(parts[2], *split_windows(windows)))
    solve_smoothing(smoothing, windows)
    solve_exponential(parts[1], windows)
    forecasts = [forecast_function(part)(windows, windows.starts) for part in parts]
    mean = forecast_function(again)(windows, windows.starts)
    np.testing.assert_allclose(mean, np.mean(forecasts, axis=0), atol=1e-5)


@pytest.mark.parametrize(("standard_error", "best"), [(0.04, "RidgeLinear"), (0.06, "Combination")])
def test_an_advantage_within_two_standard_errors_changes_nothing(standard_error, best):
    def trial(architecture: str, val_mse: float, standard_error: float) -> ArchitectureTrial:
        return {
            "architecture": architecture,
            "val_mse": val_mse,
            "judged_on": "rolling_origins",
            "seconds": 1.0,
            "standard_error": standard_error,
        }

    assert select_best([trial("Combination", 1.0, 0.0), trial("RidgeLinear", 0.9, standard_error)]) == best


def test_a_candidate_that_was_cut_off_is_no_measure_for_the_others(monkeypatch):
    values = np.sin(2 * np.pi * np.arange(240) / 7) + np.random.default_rng(5).normal(size=240)
    losses = {"Combination": np.inf, "Smoothing": 1.0, "RidgeLinear": 0.9}
    monkeypatch.setattr(search, "_run_trial", lambda architecture, *_: losses[architecture])
    trials = compare_architectures(windows_of(values, season=7), {"time_budget_seconds": 60})
    assert [trial["val_mse"] for trial in trials] == [None, 1.0, 0.9]
    assert all(np.isfinite(trial.get("standard_error", 0.0)) for trial in trials)
    assert select_best(trials) == "RidgeLinear"
