"""Train the architecture that the options name, the one that ``auto`` finds at rolling origins, or all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from errors import TrainingCancelled
from prediction.contract import Options, Progress, no_progress
from prediction.forecasting.data.preparation import PreparedForecastData
from prediction.forecasting.data.series import WindowSplit
from prediction.forecasting.model.closed_form import is_closed_form, solve, solve_again, solve_fold
from prediction.forecasting.model.effects import choose_effects, estimate_effects
from prediction.forecasting.model.fitting import (
    ArchitectureTrial,
    TrainedForecaster,
    build_network,
    choose_served,
    forecast_function,
    served_function,
    to_examples,
)
from prediction.forecasting.model.ridge import MAX_PRODUCTS, ClosedFormFit, measure_products_per_second
from prediction.forecasting.model.rolling import (
    Calibration,
    Fold,
    build_folds,
    is_short,
    measure_residuals,
)
from prediction.forecasting.networks import Forecaster, RidgeLinear
from prediction.forecasting.options import AUTO, COMPARE, NETWORKS
from prediction.neural.callbacks import Callback, TrainingRun
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.family import default_callbacks, read_hyperparameters
from prediction.neural.training import evaluate_network, fit

# What ``auto`` tries, the quick ones first, so that a short budget still compares something.
CANDIDATES = (
    "Smoothing",
    "RidgeLinear",
    "NLinear",
    "DLinear",
    "Conv1D-LSTM",
    "BiGRU",
    "BiLSTM",
    "PatchTransformer",
)
SHORT_CANDIDATES = ("Combination", "Smoothing", "RidgeLinear")
# By which a candidate for a short series must err less than the first one: 95 % of chance, of five origins. With
# one, auto erred more on 18 other cuts of tables than the first candidate alone (1.00 and .92 of seasonal naive
# beside .99 and .88).
_STANDARD_ERRORS = 2.0
_TRIAL_EPOCHS = 10
# What ``val_mse`` of a trial was measured on.
JUDGED_AT_ORIGINS, JUDGED_ON_VALIDATION = "rolling_origins", "validation"
# Windows that a trial is validated on.
_TRIAL_WINDOWS = 500
# Batches from which the speed of an architecture is estimated.
_RATE_BATCHES = 4


def train_forecaster(
    prepared: PreparedForecastData,
    options: Options,
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
) -> TrainedForecaster:
    """Train the architecture that the options name, the one that ``auto`` finds best, or all of them."""
    trials: list[ArchitectureTrial] = []
    architecture = options["architecture"]
    if architecture == COMPARE:
        return train_all(prepared, options, progress, checkpoint)
    if architecture == AUTO:
        trials = compare_architectures(prepared.development, options, progress)
        architecture = select_best(trials)
    model = train_named(architecture, prepared, options, progress, checkpoint)
    return replace(model, trials=trials)


def train_all(
    prepared: PreparedForecastData, options: Options, progress: Progress, checkpoint: Checkpoint | None
) -> TrainedForecaster:
    """Train every architecture and return the one with the lowest error at rolling origins.

    Its trials have that error, of windows that have chosen neither a weight nor an epoch, and the test error. Where
    the windows are too few for an origin, it is the error on the validation part, as ``judged_on`` says.
    """
    folds = build_folds(prepared.development)
    if not is_short(prepared.development):
        # One origin has windows enough, and each one costs another training.
        folds = folds[-1:]
    judged_on = JUDGED_AT_ORIGINS if folds else JUDGED_ON_VALIDATION
    trials: list[ArchitectureTrial] = []
    best: TrainedForecaster | None = None
    best_mse = math.inf
    for number, architecture in enumerate(NETWORKS):
        started = time.monotonic()
        of_architecture = _report_part(progress, number, len(NETWORKS))
        model = train_named(architecture, prepared, options, _report_part(of_architecture, 0, 2), checkpoint)
        if folds and not _is_calibrated_at_origins(model.network, folds, prepared.development):
            at_origins = _report_part(of_architecture, 1, 2)
            val_mse = measure_at_origins(architecture, folds, options, at_origins).mse
        else:
            val_mse = model.evaluation.validation_mse
        if best is None or val_mse < best_mse:
            best, best_mse = model, val_mse
        trials.append(
            {
                "architecture": architecture,
                "val_mse": val_mse,
                "judged_on": judged_on,
                "seconds": round(time.monotonic() - started, 2),
                "test_mse": model.evaluation.network_mse,
            }
        )
        progress("choice", **trials[-1], done=number + 1, of=len(NETWORKS))
    assert best is not None
    return replace(best, trials=trials)


def _report_part(progress: Progress, number: int, count: int, name: str | None = None) -> Progress:
    """Return a progress of one of several equal parts that counts the steps of all of them as one.

    Parameters
    ----------
    name : str, optional
        The stage to report instead of an epoch, whose losses would continue the curve of another network.
    """

    def report(stage: str, **facts: Any) -> None:
        of = facts.get("of", 1)
        # What is left of one part says nothing about all of them.
        whole = {"done": number * of + facts.get("done", 0), "of": count * of, "eta_seconds": None}
        progress(name or stage, **{**facts, **whole})

    return report


def train_named(
    architecture: str,
    prepared: PreparedForecastData,
    options: Options,
    progress: Progress,
    checkpoint: Checkpoint | None,
) -> TrainedForecaster:
    """Train one architecture, and evaluate it and the simple rules."""
    network, arguments = build_network(architecture, prepared.train.series, options)
    network.effects = choose_effects(prepared.train, prepared.validation, options)
    run: TrainingRun | ClosedFormFit
    if is_closed_form(network):
        run = solve(network, prepared.train, prepared.validation, progress)
    else:
        run = fit(
            network,
            to_examples(prepared.train, network),
            to_examples(prepared.validation, network),
            read_hyperparameters(options),
            callbacks=default_callbacks(options["early_stopping_patience"]),
            progress=progress,
            checkpoint=checkpoint.for_variant(architecture) if checkpoint else None,
        )
    measured = calibrate(architecture, network, prepared, options)
    calibration, evaluation = choose_served(network, measured, prepared.test)
    return TrainedForecaster(
        architecture=architecture,
        arguments=arguments,
        network=network,
        run=run,
        half_widths=calibration.compute_half_widths(),
        evaluation=evaluation,
        options=options,
        calibration=calibration,
    )


def calibrate(
    architecture: str, network: Forecaster, prepared: PreparedForecastData, options: Options
) -> Calibration:
    """Return errors before the test part: on the validation windows or, of a short series, at rolling origins."""
    folds = build_folds(prepared.development)
    if not _is_calibrated_at_origins(network, folds, prepared.development):
        return measure_residuals(forecast_function(network), prepared.validation)
    return measure_at_origins(architecture, folds, options)


def _is_calibrated_at_origins(network: Forecaster, folds: Sequence[Fold], development: WindowSplit) -> bool:
    return bool(folds) and is_closed_form(network) and is_short(development)


def measure_at_origins(
    architecture: str, folds: Sequence[Fold], options: Options, progress: Progress = no_progress
) -> Calibration:
    """Train an architecture up to each origin, and return its errors behind them, on windows that chose nothing."""
    parts = []
    for number, fold in enumerate(folds):
        of_fold = _report_part(progress, number, len(folds), "origin")
        series = fold.learn.series
        network, _ = build_network(architecture, series, options)
        train, validation = fold.split_learn()
        network.effects = choose_effects(train, validation, options)
        if is_closed_form(network):
            solve_fold(network, fold)
            of_fold("origin", done=1)
        else:
            fit(
                network,
                to_examples(train, network),
                to_examples(validation, network),
                read_hyperparameters(options),
                callbacks=default_callbacks(options["early_stopping_patience"]),
                progress=of_fold,
            )
        parts.append(measure_residuals(forecast_function(network), fold.judged))
    windows = np.concatenate([part.windows.starts for part in parts])
    residuals = np.concatenate([part.residuals for part in parts])
    return Calibration(WindowSplit(series, windows), residuals)


def refit_forecaster(model: TrainedForecaster, prepared: PreparedForecastData) -> TrainedForecaster:
    """Fit closed forms again to all rows, and make the intervals from the errors on the test part, too.

    Networks that learn in epochs keep their weights: there would be no validation part to stop at.
    """
    tested = measure_residuals(served_function(model, prepared.test.series), prepared.test)
    half_widths = model.calibration.extend(tested).compute_half_widths()
    network = model.network
    if isinstance(model.run, ClosedFormFit):
        network, _ = build_network(model.architecture, prepared.test.series, model.options)
        if model.network.effects is not None:
            # The choice of the targets that have effects stays, too.
            effects = torch.from_numpy(estimate_effects(prepared.whole))
            network.effects = effects * model.network.effects.any(dim=0)
        solve_again(network, prepared.whole, model.run)
        network.eval()
    return replace(model, network=network, half_widths=half_widths, evaluated=model)


def compare_architectures(
    development: WindowSplit, options: Options, progress: Progress = no_progress
) -> list[ArchitectureTrial]:
    """Judge all candidates at rolling origins, within a time budget.

    A candidate is judged on windows that have chosen nothing in its fit, neither a weight nor an epoch. What a
    quick candidate leaves of its share goes to the later ones. A slow one learns from fewer windows, so that it
    gets as many epochs; one that ends no epoch in its share has no ``val_mse``.

    Returns
    -------
    list of ArchitectureTrial
        In the order tried; ``val_mse`` is the mean over the folds.
    """
    deadline = time.monotonic() + float(options["time_budget_seconds"])
    folds = build_folds(development)
    candidates: Sequence[str] = SHORT_CANDIDATES if is_short(development) else CANDIDATES
    effects = [choose_effects(*fold.split_learn(), options) for fold in folds]
    trials: list[ArchitectureTrial] = []
    first_losses: list[float] = []
    for number, architecture in enumerate(candidates if folds else ()):
        started = time.monotonic()
        share = (deadline - started) / (len(candidates) - number) / len(folds)
        if share <= 0:
            break
        losses = [
            _run_trial(architecture, fold, known, options, share)
            for fold, known in zip(folds, effects, strict=True)
        ]
        val_mse = float(np.mean(losses)) if np.isfinite(losses).all() else None
        seconds = round(time.monotonic() - started, 2)
        trial: ArchitectureTrial = {
            "architecture": architecture,
            "val_mse": val_mse,
            "judged_on": JUDGED_AT_ORIGINS,
            "seconds": seconds,
        }
        if is_short(development) and val_mse is not None and len(folds) > 1:
            first_losses = first_losses or losses
            differences = np.subtract(losses, first_losses)
            trial["standard_error"] = float(differences.std(ddof=1) / np.sqrt(len(folds)))
        trials.append(trial)
        progress("choice", **trial)
    return trials


def select_best(trials: Sequence[ArchitectureTrial]) -> str:
    """Return the architecture with the lowest error; the quickest one where none has an error.

    Of a short series, an architecture takes the place of the first one only where its error is lower by more than two
    standard errors of their difference: its windows are few, and the first one is a mean of several.
    """
    tried = [trial for trial in trials if trial["val_mse"] is not None]
    if not tried:
        return CANDIDATES[0]

    def cautious_error(trial: ArchitectureTrial) -> float:
        return (trial["val_mse"] or 0.0) + _STANDARD_ERRORS * trial.get("standard_error", 0.0)

    return min(tried, key=cautious_error)["architecture"]


def _run_trial(
    architecture: str, fold: Fold, effects: Tensor | None, options: Options, seconds: float
) -> float:
    """Return the loss on the judged windows of a model that is fitted within so many seconds, else infinity."""
    judged = fold.judged.subsample(_TRIAL_WINDOWS)
    end = time.monotonic() + seconds

    def is_over() -> bool:
        return time.monotonic() >= end

    network, _ = build_network(architecture, judged.series, options)
    network.effects = effects
    if isinstance(network, RidgeLinear):
        # Half of the time goes to the normal equations of the two parts, half to their solution.
        max_products = min(MAX_PRODUCTS, measure_products_per_second(network) * seconds / 4)
        try:
            solve_fold(network, fold, max_products=max_products, cancelled=is_over)
        except TrainingCancelled:
            return math.inf
        return evaluate_network(network.eval(), to_examples(judged, network), {"loss": mse_loss})["loss"]
    train, validation = fold.split_learn()
    short = read_hyperparameters({**options, "epochs": min(options["epochs"], _TRIAL_EPOCHS)})
    best = _BestWeights()
    with suppress(TrainingCancelled):
        rate = _measure_windows_per_second(architecture, train, options, is_over)
        train = train.subsample(max(short.batch_size, int(rate * seconds / _TRIAL_EPOCHS)))
        fit(
            network,
            to_examples(train, network),
            to_examples(validation.subsample(_TRIAL_WINDOWS), network),
            short,
            callbacks=[*default_callbacks(options["early_stopping_patience"]), best],
            cancelled=is_over,
        )
    if not best.weights:
        return math.inf
    network.load_state_dict(best.weights)
    examples = to_examples(judged, network)
    return evaluate_network(network.to("cpu").eval(), examples, {"loss": mse_loss})["loss"]


def _measure_windows_per_second(
    architecture: str, split: WindowSplit, options: Options, is_over: Callable[[], bool]
) -> float:
    network, _ = build_network(architecture, split.series, options)
    # A whole epoch of the few windows, so that the set-up of an epoch counts as it will later.
    few = split.subsample(_RATE_BATCHES * options["batch_size"])
    started = time.monotonic()
    one_epoch = read_hyperparameters({**options, "epochs": 1})
    fit(network, to_examples(few, network), None, one_epoch, cancelled=is_over)
    return len(few) / max(time.monotonic() - started, 1e-6)


class _BestWeights(Callback):
    """Stores the weights with the lowest validation loss, also of a run that is cut off."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self.state = {}

    def on_epoch_end(self, run: TrainingRun) -> None:
        self.weights = run.best
