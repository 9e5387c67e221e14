"""Build and train a forecasting network of a known architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from prediction.contract import Options
from prediction.forecasting.data.series import ForecastSeries, WindowSplit
from prediction.forecasting.data.windows import Rows
from prediction.forecasting.model.backtest import Backtest, ForecastFunction, backtest, baselines
from prediction.forecasting.model.ridge import ClosedFormFit, num_maps
from prediction.forecasting.model.rolling import Calibration, measure_residuals
from prediction.forecasting.model.rules import NETWORK, can_serve
from prediction.forecasting.networks import ARCHITECTURES, Forecaster
from prediction.neural.callbacks import TrainingRun
from prediction.neural.export import select_arguments
from prediction.neural.training import TrainingExamples, predict


@dataclass(frozen=True)
class ForecastEvaluation:
    """Errors on the test part of what answers, with those of the simple rules and of the network.

    Parameters
    ----------
    model_used : str
        ``"network"``, or the rule that answers because the network errs more.
    network_mse, validation_mse : float
        Of the network on the test part and on the windows before it that it has not learnt; far apart, the future
        differs from the past.
    """

    model_used: str
    served: Backtest
    network_mse: float
    validation_mse: float
    baselines: dict[str, Backtest]


class ArchitectureTrial(TypedDict):
    """What ``auto`` or ``compare`` measured of one architecture, as ``model_info.json`` stores it.

    ``val_mse`` is None where no epoch ended within the time; ``test_mse`` is of ``compare`` alone, which trains
    every architecture to the end; ``standard_error``, of short series, is that of the difference from the first one.
    """

    architecture: str
    val_mse: float | None
    judged_on: str
    seconds: float
    test_mse: NotRequired[float]
    standard_error: NotRequired[float]


@dataclass(frozen=True)
class TrainedForecaster:
    """A trained network with everything that its saved copy needs.

    Parameters
    ----------
    arguments : mapping
        The arguments of the network's class.
    half_widths : ndarray of float32, shape (coverages, steps, n_targets)
        Of the conformal intervals of what answers, z units.
    evaluation : ForecastEvaluation
        What answers, the network or a simple rule, and its errors on the test part.
    calibration : Calibration
        Errors that the intervals are made from.
    trials : list of ArchitectureTrial
        What ``auto`` or ``compare`` compared; empty where the architecture was named.
    evaluated : TrainedForecaster, optional
        The model that was evaluated, where this one has been fitted to all rows afterwards.
    """

    architecture: str
    arguments: Mapping[str, float]
    network: Forecaster
    run: TrainingRun | ClosedFormFit
    half_widths: NDArray[np.float32]
    evaluation: ForecastEvaluation
    options: Options
    calibration: Calibration
    trials: list[ArchitectureTrial] = field(default_factory=list)
    evaluated: TrainedForecaster | None = None


def build_network(
    architecture: str, series: ForecastSeries, options: Options
) -> tuple[Forecaster, dict[str, float]]:
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


def to_examples(split: WindowSplit, network: Forecaster) -> TrainingExamples:
    """Return the windows of a split as the training loop takes them: views of the one series."""
    histories, futures = split.series.sequences()
    inputs = histories if network.effects is None else split.series.spans()
    return TrainingExamples.from_arrays(inputs, futures, split.starts)


def list_inputs(split: WindowSplit, starts: Rows, network: Forecaster) -> NDArray[np.float32]:
    """Return windows as a network takes them: with effects, the rows of the horizon are behind them."""
    return split.histories(starts) if network.effects is None else split.spans(starts)


def forecast_function(network: Forecaster) -> ForecastFunction:
    """Return the network as a function of windows."""

    def forecast(split: WindowSplit, starts: Rows) -> NDArray[np.float32]:
        output: NDArray[np.float32] = predict(
            network, torch.from_numpy(list_inputs(split, starts, network))
        ).numpy()
        return output.reshape(len(starts), split.series.steps, -1)

    return forecast


def choose_served(
    network: Forecaster, calibration: Calibration, test: WindowSplit
) -> tuple[Calibration, ForecastEvaluation]:
    """Evaluate network and simple rules on the test part; return the calibration and errors of what answers.

    A rule answers only where it errs less than the network over all windows that neither has learnt: those of the
    calibration and those of the test part. The test part alone may be one window.
    """
    series, forecast = test.series, forecast_function(network)
    measured = backtest(forecast, test, calibration.compute_half_widths())
    rules = baselines(series)
    naive = {name: backtest(rule, test) for name, rule in rules.items()}
    calibrations = {name: measure_residuals(rule, calibration.windows) for name, rule in rules.items()}

    def held_out_mse(known: Calibration, tested: Backtest) -> float:
        return (known.mse * len(known.windows) + tested.mse * len(test)) / (len(known.windows) + len(test))

    # The seasonal rule may need rows that a request does not bring.
    servable = [name for name in rules if can_serve(name, series.window, series.season)]
    errors = {name: held_out_mse(calibrations[name], naive[name]) for name in servable}
    best = min(servable, key=errors.__getitem__)
    if errors[best] >= held_out_mse(calibration, measured):
        return calibration, ForecastEvaluation(NETWORK, measured, measured.mse, calibration.mse, naive)
    served = backtest(rules[best], test, calibrations[best].compute_half_widths())
    return calibrations[best], ForecastEvaluation(best, served, measured.mse, calibration.mse, naive)


def served_function(model: TrainedForecaster, series: ForecastSeries) -> ForecastFunction:
    """Return what answers, the network or a rule, as a function of windows."""
    if model.evaluation.model_used == NETWORK:
        return forecast_function(model.network)
    return baselines(series)[model.evaluation.model_used]
