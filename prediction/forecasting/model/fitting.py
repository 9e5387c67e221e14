"""Build and train a forecasting network of a known architecture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from prediction.contract import JSON
from prediction.forecasting.data.series import ForecastSeries, WindowSplit
from prediction.forecasting.data.windows import Rows
from prediction.forecasting.intervals import MAX_WINDOWS, compute_half_widths
from prediction.forecasting.model.backtest import Backtest, ForecastFunction, backtest, baselines
from prediction.forecasting.model.ridge import ClosedFormFit, num_maps
from prediction.forecasting.model.rules import NETWORK, can_serve
from prediction.forecasting.networks import ARCHITECTURES, Forecaster
from prediction.neural.callbacks import TrainingRun
from prediction.neural.export import select_arguments
from prediction.neural.training import TrainingExamples, predict

_MAX_RESIDUALS = 20_000_000
"""Numbers that the residuals of the intervals may have: 80 MB."""
_MIN_RESIDUAL_WINDOWS = 20


@dataclass(frozen=True)
class ForecastEvaluation:
    """Errors on the test part of what answers, with those of the simple rules and of the network.

    Parameters
    ----------
    model_used : str
        ``"network"``, or the rule that answers because the network errs more.
    network_mse, validation_mse : float
        Of the network on the test and on the validation part; far apart, the future differs from the past.
    """

    model_used: str
    served: Backtest
    network_mse: float
    validation_mse: float
    baselines: dict[str, Backtest]


@dataclass(frozen=True)
class TrainedForecaster:
    """A trained network with everything that its saved copy needs.

    Parameters
    ----------
    arguments : dict
        The arguments of the network's class.
    half_widths : ndarray of float32, shape (coverages, steps, n_targets)
        Of the conformal intervals of what answers, z units.
    evaluation : ForecastEvaluation
        What answers, the network or a simple rule, and its errors on the test part.
    trials : list of dict
        What ``auto`` compared; empty where the architecture was named.
    """

    architecture: str
    arguments: JSON
    network: Forecaster
    run: TrainingRun | ClosedFormFit
    half_widths: NDArray[np.float32]
    evaluation: ForecastEvaluation
    options: JSON
    trials: list[JSON] = field(default_factory=list)


def build_network(architecture: str, series: ForecastSeries, options: JSON) -> tuple[Forecaster, JSON]:
    """Return a fresh network for a series, initialised from the seed, and the arguments of its class."""
    torch.manual_seed(options["seed"])
    names = ["hidden_size", "num_layers", "dropout", "conv_filters"]
    # DLinear has an argument of this name too, for another thing: its moving average.
    if architecture == "Conv1D-LSTM":
        names.append("kernel_size")
    sizes = {
        "input_size": len(series.columns),
        "output_size": series.output_size,
        "window_size": series.window,
        "future_steps": series.steps,
        "maps": num_maps(len(series.targets), series.window, series.steps),
    }
    kind = ARCHITECTURES[architecture]
    arguments = select_arguments(kind, {**sizes, **{name: options[name] for name in names}})
    network = kind(**arguments)
    network.set_targets(list(series.targets), residual_to_last=options["residual_to_last"])
    return network, arguments


def to_examples(split: WindowSplit) -> TrainingExamples:
    """Return the windows of a split as the training loop takes them: views of the one series."""
    histories, futures = split.series.sequences()
    return TrainingExamples.from_arrays(histories, futures, split.starts)


def forecast_function(network: Forecaster) -> ForecastFunction:
    """Return the network as a function of windows."""

    def forecast(split: WindowSplit, starts: Rows) -> NDArray[np.float32]:
        output: NDArray[np.float32] = predict(network, torch.from_numpy(split.histories(starts))).numpy()
        return output.reshape(len(starts), split.series.steps, -1)

    return forecast


def compute_residuals(forecast: ForecastFunction, validation: WindowSplit) -> NDArray[np.float32]:
    """Return forecast minus truth on validation windows, shape ``(n, steps, n_targets)``."""
    by_memory = max(_MIN_RESIDUAL_WINDOWS, _MAX_RESIDUALS // validation.series.output_size)
    split = validation.subsample(min(MAX_WINDOWS, by_memory))
    return forecast(split, split.starts) - split.futures(split.starts)


def choose_served(
    network: Forecaster, validation: WindowSplit, test: WindowSplit
) -> tuple[NDArray[np.float32], ForecastEvaluation]:
    """Evaluate network and simple rules on the test part; return half widths and errors of the better one.

    A rule answers only where it errs less than the network: ties go to the network.
    """
    series, forecast = test.series, forecast_function(network)
    residuals = compute_residuals(forecast, validation)
    validation_mse = float((residuals.astype(np.float64) ** 2).mean())
    half_widths = compute_half_widths(residuals)
    measured = backtest(forecast, test, half_widths)
    rules = baselines(series)
    naive = {name: backtest(rule, test) for name, rule in rules.items()}
    # The seasonal rule may need rows that a request does not bring.
    servable = [name for name in rules if can_serve(name, series.window, series.season)]
    best = min(servable, key=lambda name: naive[name].mse)
    if naive[best].mse >= measured.mse:
        return half_widths, ForecastEvaluation(NETWORK, measured, measured.mse, validation_mse, naive)
    half_widths = compute_half_widths(compute_residuals(rules[best], validation))
    served = backtest(rules[best], test, half_widths)
    return half_widths, ForecastEvaluation(best, served, measured.mse, validation_mse, naive)


def served_function(model: TrainedForecaster, series: ForecastSeries) -> ForecastFunction:
    """Return what answers, the network or a rule, as a function of windows."""
    if model.evaluation.model_used == NETWORK:
        return forecast_function(model.network)
    return baselines(series)[model.evaluation.model_used]
