"""Train the architecture that the options name, or the one that ``auto`` finds by rolling-origin validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from torch.nn.functional import mse_loss

from errors import TrainingCancelled
from prediction.contract import JSON, Progress, no_progress
from prediction.forecasting.data.preparation import PreparedForecastData
from prediction.forecasting.data.series import WindowSplit
from prediction.forecasting.model.fitting import (
    TrainedForecaster,
    build_network,
    choose_served,
    to_examples,
)
from prediction.forecasting.model.ridge import (
    MAX_PRODUCTS,
    ClosedFormFit,
    measure_products_per_second,
    solve_ridge,
)
from prediction.forecasting.networks import RidgeLinear
from prediction.forecasting.options import AUTO
from prediction.neural.callbacks import Callback, TrainingRun
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.family import default_callbacks, read_hyperparameters
from prediction.neural.training import evaluate_network, fit

CANDIDATES = ("RidgeLinear", "NLinear", "DLinear", "Conv1D-LSTM", "BiGRU", "BiLSTM", "PatchTransformer")
"""What ``auto`` tries, the quick ones first, so that a short budget still compares something."""

_FOLDS = ((0.6, 0.8), (0.8, 1.0))
"""Shares of the training windows: learn up to the first, validate up to the second."""
_TRIAL_EPOCHS = 10
_TRIAL_WINDOWS = 500
"""Windows that a trial is validated on."""
_RATE_BATCHES = 4
"""Batches from which the speed of an architecture is estimated."""


def train_forecaster(
    prepared: PreparedForecastData,
    options: JSON,
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
) -> TrainedForecaster:
    """Train the architecture that the options name, or the one that ``auto`` finds best."""
    trials: list[JSON] = []
    architecture = options["architecture"]
    if architecture == AUTO:
        trials = compare_architectures(prepared.train, options, progress)
        architecture = select_best(trials)
    network, arguments = build_network(architecture, prepared.train.series, options)
    run: TrainingRun | ClosedFormFit
    if isinstance(network, RidgeLinear):
        run = solve_ridge(network, prepared.train, prepared.validation, progress)
    else:
        run = fit(
            network,
            to_examples(prepared.train),
            to_examples(prepared.validation),
            read_hyperparameters(options),
            callbacks=default_callbacks(options["early_stopping_patience"]),
            progress=progress,
            checkpoint=checkpoint.for_variant(architecture) if checkpoint else None,
        )
    half_widths, evaluation = choose_served(network, prepared.validation, prepared.test)
    return TrainedForecaster(architecture, arguments, network, run, half_widths, evaluation, options, trials)


def compare_architectures(
    train: WindowSplit, options: JSON, progress: Progress = no_progress
) -> list[dict[str, Any]]:
    """Validate all candidates with rolling origins, within the training part and the time budget.

    What a quick candidate leaves of its share goes to the later ones. A slow one learns from fewer windows, so
    that it gets as many epochs; one that ends no epoch in its share has no ``val_mse``.

    Returns
    -------
    list of dict
        ``architecture, val_mse`` (mean over the folds) and ``seconds``, in the order tried.
    """
    deadline = time.monotonic() + float(options["time_budget_seconds"])
    trials: list[dict[str, Any]] = []
    for number, architecture in enumerate(CANDIDATES):
        started = time.monotonic()
        share = (deadline - started) / (len(CANDIDATES) - number) / len(_FOLDS)
        if share <= 0:
            break
        losses = [_run_trial(architecture, fold, options, share) for fold in _build_folds(train)]
        val_mse = float(np.mean(losses)) if np.isfinite(losses).all() else None
        seconds = round(time.monotonic() - started, 2)
        trials.append({"architecture": architecture, "val_mse": val_mse, "seconds": seconds})
        progress("choice", **trials[-1])
    return trials


def select_best(trials: list[dict[str, Any]]) -> str:
    """Return the architecture with the lowest validation error; the quickest one where none has an error."""
    measured = [trial for trial in trials if trial["val_mse"] is not None]
    if not measured:
        return CANDIDATES[0]
    best: str = min(measured, key=lambda trial: float(trial["val_mse"]))["architecture"]
    return best


def _build_folds(train: WindowSplit) -> list[tuple[WindowSplit, WindowSplit]]:
    """Return earlier windows to learn from and later ones to validate on; none shares a row."""
    series, starts = train.series, train.starts
    folds = []
    for learn_share, validate_share in _FOLDS:
        cut, end = starts[0] + (starts[-1] - starts[0]) * np.array([learn_share, validate_share])
        early = starts[starts + series.span <= cut]
        late = starts[(starts >= cut) & (starts <= end)]
        if len(early) and len(late):
            folds.append((WindowSplit(series, early), WindowSplit(series, late)))
    return folds or [(train, train)]


def _run_trial(
    architecture: str, fold: tuple[WindowSplit, WindowSplit], options: JSON, seconds: float
) -> float:
    """Return the lowest validation loss reached within so many seconds, else infinity."""
    train, validation = fold[0], fold[1].subsample(_TRIAL_WINDOWS)
    end = time.monotonic() + seconds

    def is_over() -> bool:
        return time.monotonic() >= end

    network, _ = build_network(architecture, train.series, options)
    if isinstance(network, RidgeLinear):
        # Half of the time goes to the normal equations of the two parts, half to their solution.
        max_products = min(MAX_PRODUCTS, measure_products_per_second(network) * seconds / 4)
        try:
            solve_ridge(network, train, fold[1], max_products=max_products, cancelled=is_over)
        except TrainingCancelled:
            return math.inf
        return evaluate_network(network.eval(), to_examples(validation), {"loss": mse_loss})["loss"]
    short = read_hyperparameters({**options, "epochs": min(options["epochs"], _TRIAL_EPOCHS)})
    best_loss = _BestLoss()
    with suppress(TrainingCancelled):
        rate = _measure_windows_per_second(architecture, train, options, is_over)
        train = train.subsample(max(short.batch_size, int(rate * seconds / _TRIAL_EPOCHS)))
        fit(
            network,
            to_examples(train),
            to_examples(validation),
            short,
            callbacks=[*default_callbacks(options["early_stopping_patience"]), best_loss],
            cancelled=is_over,
        )
    return best_loss.loss


def _measure_windows_per_second(
    architecture: str, split: WindowSplit, options: JSON, is_over: Callable[[], bool]
) -> float:
    network, _ = build_network(architecture, split.series, options)
    # A whole epoch of the few windows, so that the set-up of an epoch counts as it will later.
    few = split.subsample(_RATE_BATCHES * options["batch_size"])
    started = time.monotonic()
    fit(network, to_examples(few), None, read_hyperparameters({**options, "epochs": 1}), cancelled=is_over)
    return len(few) / max(time.monotonic() - started, 1e-6)


class _BestLoss(Callback):
    """Stores the lowest validation loss, also of a run that is cut off."""

    def __init__(self) -> None:
        self.loss = math.inf
        self.state = {}

    def on_epoch_end(self, run: TrainingRun) -> None:
        self.loss = run.best_loss
