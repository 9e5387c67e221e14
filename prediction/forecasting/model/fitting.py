"""What learns: a network on the training windows, chosen by name or by rolling-origin validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from errors import TrainingCancelled
from prediction.contract import JSON, Progress, no_progress
from prediction.forecasting.data.preparation import PreparedForecastData
from prediction.forecasting.data.series import ForecastSeries, WindowSplit
from prediction.forecasting.data.windows import Rows
from prediction.forecasting.intervals import MAX_WINDOWS, compute_half_widths
from prediction.forecasting.model.backtest import Forecasts
from prediction.forecasting.model.ridge import (
    MAX_PRODUCTS,
    ClosedFormFit,
    num_maps,
    products_per_second,
    solve_ridge,
)
from prediction.forecasting.networks import ARCHITECTURES, Forecaster, RidgeLinear, select_arguments
from prediction.neural.callbacks import (
    Callback,
    EarlyStopping,
    NeuralHyperparameters,
    ReduceOnPlateau,
    TrainingRun,
)
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.training import TrainingExamples, evaluate_network, fit, predict

AUTO = "auto"
CANDIDATES = ("RidgeLinear", "NLinear", "DLinear", "Conv1D-LSTM", "BiGRU", "BiLSTM", "PatchTransformer")
"""What ``auto`` tries, the quick ones first, so that a short budget still compares something."""

_FOLDS = ((0.6, 0.8), (0.8, 1.0))
"""Shares of the training windows: learn up to the first, validate up to the second."""
_TRIAL_EPOCHS = 10
_TRIAL_WINDOWS = 500
"""Windows that a trial is validated on."""
_MOST_RESIDUALS = 20_000_000


@dataclass(frozen=True)
class TrainedForecaster:
    """A trained network with everything that its saved copy needs.

    Parameters
    ----------
    given : dict
        The arguments of the network's class.
    margins : ndarray of float32, shape (levels, steps, n_targets)
        Half widths of the conformal intervals, z units.
    tried : list of dict
        What ``auto`` compared; empty where the architecture was named.
    """

    architecture: str
    given: JSON
    network: Forecaster
    run: TrainingRun | ClosedFormFit
    margins: NDArray[np.float32]
    options: JSON
    tried: list[JSON] = field(default_factory=list)


def train_forecaster(
    prepared: PreparedForecastData,
    options: JSON,
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
) -> TrainedForecaster:
    """Train the architecture that the options name, or the one that ``auto`` finds best."""
    tried: list[JSON] = []
    architecture = options["architecture"]
    if architecture == AUTO:
        tried = compare_architectures(prepared.train, options, progress)
        architecture = select_best(tried)
    series = prepared.train.series
    network, given = build_network(architecture, series, options)
    kept = checkpoint and checkpoint.for_variant(architecture)
    run = _trained(network, prepared, options, progress, kept)
    return TrainedForecaster(
        architecture, given, network, run, _margins(network, prepared.validation), options, tried
    )


def _trained(
    network: Forecaster,
    prepared: PreparedForecastData,
    options: JSON,
    progress: Progress,
    checkpoint: Checkpoint | None,
) -> TrainingRun | ClosedFormFit:
    """The network with its weights, solved where it can be and else learnt epoch by epoch."""
    if isinstance(network, RidgeLinear):
        return solve_ridge(network, prepared.train, prepared.validation, progress)
    return fit(
        network,
        examples(prepared.train),
        examples(prepared.validation),
        recipe(options),
        callbacks=callbacks(options),
        progress=progress,
        checkpoint=checkpoint,
    )


def compare_architectures(train: WindowSplit, options: JSON, progress: Progress = no_progress) -> list[JSON]:
    """Rolling-origin validation of all candidates within the training part and within the time budget.

    What a quick candidate leaves of its share goes to those behind it. A slow one learns from fewer windows,
    so that it gets as many epochs; one that ends no epoch in its share has no ``val_mse``.

    Returns
    -------
    list of dict
        ``architecture, val_mse`` (mean over the folds) and ``seconds``, in the order tried.
    """
    deadline = time.monotonic() + float(options["time_budget_seconds"])
    tried: list[JSON] = []
    for place, architecture in enumerate(CANDIDATES):
        began = time.monotonic()
        share = (deadline - began) / (len(CANDIDATES) - place) / len(_FOLDS)
        if share <= 0:
            break
        losses = [_trial(architecture, fold, options, share) for fold in _folds(train)]
        found = float(np.mean(losses)) if np.isfinite(losses).all() else None
        seconds = round(time.monotonic() - began, 2)
        tried.append({"architecture": architecture, "val_mse": found, "seconds": seconds})
        progress("choice", **tried[-1])
    return tried


def select_best(tried: list[JSON]) -> str:
    """The architecture with the lowest validation error; the quickest one where nothing was measured."""
    measured = [trial for trial in tried if trial["val_mse"] is not None]
    if not measured:
        return CANDIDATES[0]
    best: str = min(measured, key=lambda trial: float(trial["val_mse"]))["architecture"]
    return best


def _trial(architecture: str, fold: tuple[WindowSplit, WindowSplit], options: JSON, seconds: float) -> float:
    """The lowest validation loss reached within so many seconds, checked before each batch; else infinity."""
    end = time.monotonic() + seconds
    if architecture == "RidgeLinear":
        return _trial_of_solution(fold, options, seconds, _later_than(end))
    plan = recipe({**options, "epochs": min(options["epochs"], _TRIAL_EPOCHS)})
    learnt, validated = fold[0], examples(fold[1].subsample(_TRIAL_WINDOWS))
    best = _Best()
    with suppress(TrainingCancelled):
        rate = _windows_per_second(architecture, learnt, options, end)
        learnt = learnt.subsample(max(plan.batch_size, int(rate * seconds / _TRIAL_EPOCHS)))
        network, _ = build_network(architecture, learnt.series, options)
        kept = [*callbacks(options), best]
        fit(network, examples(learnt), validated, plan, callbacks=kept, cancelled=_later_than(end))
    return best.loss


def _trial_of_solution(
    fold: tuple[WindowSplit, WindowSplit], options: JSON, seconds: float, cancelled: Callable[[], bool]
) -> float:
    """Of the one that is solved, on the windows that judge the others: half of the time goes to its sums."""
    network, _ = build_network("RidgeLinear", fold[0].series, options)
    assert isinstance(network, RidgeLinear)
    products = min(MAX_PRODUCTS, products_per_second(network) * seconds / 4)
    try:
        solve_ridge(network, *fold, products=products, cancelled=cancelled)
    except TrainingCancelled:
        return math.inf
    judged = examples(fold[1].subsample(_TRIAL_WINDOWS))
    return evaluate_network(network.eval(), judged, {"loss": torch.nn.functional.mse_loss})["loss"]


def _windows_per_second(architecture: str, part: WindowSplit, options: JSON, end: float) -> float:
    network, _ = build_network(architecture, part.series, options)
    few = part.subsample(4 * options["batch_size"])
    began = time.monotonic()
    fit(network, examples(few), None, recipe({**options, "epochs": 1}), cancelled=_later_than(end))
    return len(few) / max(time.monotonic() - began, 1e-6)


def _later_than(end: float) -> Callable[[], bool]:
    return lambda: time.monotonic() >= end


class _Best(Callback):
    """Remembers the lowest validation loss, also of a run that is cut off."""

    def __init__(self) -> None:
        self.loss = math.inf
        self.state = {}

    def on_epoch_end(self, run: TrainingRun) -> None:
        self.loss = run.best_loss


def _folds(train: WindowSplit) -> list[tuple[WindowSplit, WindowSplit]]:
    """Earlier windows to learn from, later ones to validate on; none touches a row of the other."""
    series, starts = train.series, train.starts
    found = []
    for learnt, validated in _FOLDS:
        cut, end = starts[0] + (starts[-1] - starts[0]) * np.array([learnt, validated])
        early = starts[starts + series.span <= cut]
        late = starts[(starts >= cut) & (starts <= end)]
        if len(early) and len(late):
            found.append((WindowSplit(series, early), WindowSplit(series, late)))
    return found or [(train, train)]


def build_network(
    architecture: str, series: ForecastSeries, options: Mapping[str, Any]
) -> tuple[Forecaster, JSON]:
    """A fresh network for a series, made from the seed, and the arguments of its class."""
    torch.manual_seed(options["seed"])
    offered = {
        "input_size": len(series.columns),
        "output_size": series.output_size,
        "window_size": series.window,
        "future_steps": series.steps,
        "maps": num_maps(len(series.targets), series.window, series.steps),
        **{name: options[name] for name in ("hidden_size", "num_layers", "dropout", "conv_filters")},
    }
    if architecture == "Conv1D-LSTM":
        offered["kernel_size"] = options["kernel_size"]
    given = select_arguments(architecture, offered)
    network = ARCHITECTURES[architecture](**given)
    network.set_targets(list(series.targets), residual_to_last=options["residual_to_last"])
    return network, given


def recipe(options: JSON) -> NeuralHyperparameters:
    """How the loop trains, from the options."""
    names = ("epochs", "batch_size", "learning_rate", "weight_decay", "seed")
    return NeuralHyperparameters(**{name: options[name] for name in names})


def callbacks(options: JSON) -> list[Callback]:
    """Halve the rate on a plateau; stop when patience is at its end."""
    patience = options["early_stopping_patience"]
    return [ReduceOnPlateau(0.5, max(2, patience // 3)), EarlyStopping(patience)]


def examples(part: WindowSplit) -> TrainingExamples:
    """The windows of a part as the loop takes them: views of the one series."""
    histories, futures = part.series.sequences()
    return TrainingExamples.from_arrays(histories, futures, part.starts)


def forecast_function(network: Forecaster) -> Forecasts:
    """The network as the backtest asks it."""

    def forecasts(part: WindowSplit, starts: Rows) -> NDArray[np.float32]:
        output: NDArray[np.float32] = predict(network, torch.from_numpy(part.histories(starts))).numpy()
        return output.reshape(len(starts), part.series.steps, -1)

    return forecasts


def _margins(network: Forecaster, validation: WindowSplit) -> NDArray[np.float32]:
    most = min(MAX_WINDOWS, max(20, _MOST_RESIDUALS // validation.series.output_size))
    part = validation.subsample(most)
    return compute_half_widths(forecast_function(network)(part, part.starts) - part.futures(part.starts))
