"""Training of one network, or of several with different seeds, in the shared epoch loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prediction.contract import Options, Progress, no_progress
from prediction.neural.callbacks import (
    Callback,
    CosineAnnealing,
    EarlyStopping,
    EpochRecord,
    ReplayLearningRates,
    TrainingRun,
)
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.family import default_callbacks, read_hyperparameters
from prediction.neural.training import MetricFunction, TrainingExamples, fit, predict
from prediction.rul.data.windows import FleetSplit
from prediction.rul.evaluation.intervals import Residuals
from prediction.rul.networks import QUANTILES, Ensemble, build_network
from prediction.rul.prepare import PreparedFleet

_SEED_STEP: Final = 1_009
_MAX_GRADIENT_NORM: Final = 1.0
# In standard deviations of a channel; chosen on training engines, see docs/BENCHMARKS.md.
_DEFAULT_JITTER: Final = 0.3
_BATCH_SIZE: Final = 4_096


@dataclass(frozen=True)
class RulModel:
    """A trained network with everything that its saved copy needs.

    Parameters
    ----------
    network : Module
        Windows in, hours out; of quantiles the middle one is the prediction.
    runs : list of TrainingRun
        The training of each member.
    residuals : Residuals
        The errors on the validation devices; of a small fleet on each device, of networks that have not seen it.
    held_out : float64, shape (rows of the test part,), optional
        Of a small fleet, the predictions of networks that have not seen the device of the row: the test part has taught
        the one that serves.
    """

    network: nn.Module
    runs: list[TrainingRun]
    residuals: Residuals
    options: Options
    held_out: NDArray[np.float64] | None = None


def train_networks(
    train: FleetSplit,
    validation: FleetSplit,
    options: Options,
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
) -> RulModel:
    """Train on one part, and fit the intervals to the errors on the other."""
    trainer = _MemberTrainer(options, progress, checkpoint, fits=1)
    network, runs = trainer.train(train, validation)
    predictions = predict_hours(network, validation, options["prediction_horizon_hours"])
    residuals = Residuals.fit(predictions, validation.targets, validation.devices)
    return RulModel(network, runs, residuals, options)


def cross_validate_networks(
    prepared: PreparedFleet,
    options: Options,
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
) -> RulModel:
    """Predict each device with networks that have not seen it, then train those that serve on all devices.

    Without a validation part the latter take the epochs and learning rates of the fold whose best epoch is the median.
    """
    trainer = _MemberTrainer(options, progress, checkpoint, fits=len(prepared.folds) + 1)
    test, horizon = prepared.test, options["prediction_horizon_hours"]
    held_out = np.empty(len(test))
    fold_runs: list[list[TrainingRun]] = []
    for split in prepared.folds:
        fold = prepared.build_fold(split, options)
        network, runs = trainer.train(fold.train, fold.validation)
        held_out[np.isin(test.devices, split[2])] = predict_hours(network, fold.test, horizon)
        fold_runs.append(runs)
    histories = [_typical_history(runs) for runs in zip(*fold_runs, strict=True)]
    network, runs = trainer.train(prepared.train, None, histories)
    residuals = Residuals.fit(held_out, test.targets, test.devices)
    return RulModel(network, runs, residuals, options, held_out)


def _typical_history(runs: Sequence[TrainingRun]) -> list[EpochRecord]:
    """Return the epochs up to the best one of the run whose best epoch is the median."""
    typical = sorted(runs, key=lambda run: run.best_epoch)[len(runs) // 2]
    return typical.history[: typical.best_epoch]


@dataclass
class _MemberTrainer:
    """Trains the members of one fit after the other; progress counts the epochs of all fits.

    Parameters
    ----------
    fits : int
        How often members are trained.
    """

    options: Options
    progress: Progress
    checkpoint: Checkpoint | None
    fits: int
    networks: int = 0

    def train(
        self,
        train: FleetSplit,
        validation: FleetSplit | None,
        histories: Sequence[Sequence[EpochRecord]] | None = None,
    ) -> tuple[nn.Module, list[TrainingRun]]:
        """Train all members; each with the epochs and learning rates of its history, where there are any."""
        members: list[nn.Module] = []
        runs: list[TrainingRun] = []
        for number in range(self.options["members"]):
            options = {**self.options, "seed": self.options["seed"] + number * _SEED_STEP}
            callbacks = _create_callbacks(options)
            if histories is not None:
                options["epochs"] = len(histories[number])
                callbacks = [ReplayLearningRates(histories[number])]
            member = build_network(train.runs.matrix.shape[1], options, options["seed"])
            run = fit(
                member,
                replace(_to_examples(train), augment=choose_augmentation(options)),
                None if validation is None else _to_examples(validation),
                read_hyperparameters(options, _MAX_GRADIENT_NORM),
                loss=create_loss(options),
                callbacks=callbacks,
                progress=self._count_epochs(),
                checkpoint=self.checkpoint and self.checkpoint.for_member(self.networks),
            )
            self.networks += 1
            members.append(member)
            runs.append(run)
        return members[0] if len(members) == 1 else Ensemble(members).eval(), runs

    def _count_epochs(self) -> Progress:
        """Return a progress that counts the epochs of all networks as one."""
        epochs, total = self.options["epochs"], self.fits * self.options["members"]
        before = self.networks * epochs

        def report(stage: str, **facts: object) -> None:
            self.progress(stage, **{**facts, "done": facts.get("done", 0) + before, "of": epochs * total})

        return report if total > 1 else self.progress


def predict_hours(network: nn.Module, split: FleetSplit, horizon_hours: float) -> NDArray[np.float64]:
    """Return the predictions for a split, between 0 and the horizon."""
    batches = [
        predict(network, torch.from_numpy(split.windows(slice(start, start + _BATCH_SIZE)))).numpy()
        for start in range(0, len(split), _BATCH_SIZE)
    ]
    predictions = point_predictions(np.concatenate(batches))
    return np.clip(predictions, 0.0, horizon_hours).astype(np.float64)


def point_predictions(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the predictions of outputs ``(n, 1)``, or of quantiles their middle one."""
    return output[:, output.shape[1] // 2]


def choose_augmentation(options: Options) -> Callable[[Tensor], Tensor] | None:
    """Return a function that shifts each channel of each training window by a random offset.

    Devices differ by such offsets from the day they are built. With few devices a recurrent network learns
    the offsets by heart, and not the wear.
    """
    size = options["jitter"]
    if size is None:
        size = _DEFAULT_JITTER if options["model_type"] != "mlp" else 0.0

    def shift(windows: Tensor) -> Tensor:
        offsets = torch.randn(len(windows), 1, windows.shape[2], device=windows.device)
        return torch.add(windows, offsets, alpha=size)

    return shift if size else None


def _to_examples(split: FleetSplit) -> TrainingExamples:
    """Return the windows of a split as views of the one matrix."""
    runs = split.runs
    return TrainingExamples.from_arrays(runs.windows(), runs.targets_of_windows(), runs.starts(split.rows))


def _create_callbacks(options: Options) -> list[Callback]:
    if options["schedule"] == "cosine":
        return [CosineAnnealing(), EarlyStopping(options["early_stopping_patience"])]
    return default_callbacks(options["early_stopping_patience"])


def create_loss(options: Options) -> MetricFunction:
    """Return the squared error, or the pinball loss of the quantiles; both in shares of the horizon.

    Errors near the failure count more where the options say so: few windows lie there, and without a weight a
    network pays for the many that are far from it by calling the last hours too late.
    """
    horizon, ramp = float(options["prediction_horizon_hours"]), max(float(options["warning_hours"]), 1e-9)
    extra = float(options["end_weight"]) - 1.0

    def average(losses: Tensor, target: Tensor) -> Tensor:
        if not extra:
            return losses.mean()
        weights = 1.0 + extra * (1.0 - target / ramp).clamp(min=0.0)
        return (weights * losses).sum() / weights.sum()

    def squared_error(output: Tensor, target: Tensor) -> Tensor:
        return average(((output.squeeze(1) - target) / horizon) ** 2, target)

    def pinball_loss(output: Tensor, target: Tensor) -> Tensor:
        errors = (target.unsqueeze(1) - output) / horizon
        levels = torch.tensor(QUANTILES, device=errors.device)
        return average(torch.maximum(levels * errors, (levels - 1) * errors).mean(dim=1), target)

    return pinball_loss if options["output"] == "quantiles" else squared_error
