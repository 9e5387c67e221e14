"""Train a network on the training images, with its temperature and novelty threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prediction.contract import Options, Progress, no_progress
from prediction.damage.data.preparation import ImageSplit, PreparedRecordings
from prediction.damage.evaluation.baseline import evaluate_rule, fit_rules
from prediction.damage.evaluation.metrics import (
    ClassificationMetrics,
    evaluate_probabilities,
    fit_temperature,
)
from prediction.damage.model.augmentation import Augmentation
from prediction.damage.model.ensemble import add_linear_blend, add_weighted_regressions
from prediction.damage.model.novelty import Novelty, band_levels
from prediction.damage.model.rules import NETWORK, LinearRule
from prediction.damage.networks import NETWORKS, DamageNetwork
from prediction.damage.serving.postprocess import DamagePostprocessor
from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.neural.callbacks import ReplayLearningRates, TrainingRun
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.export import select_arguments
from prediction.neural.family import default_callbacks, read_hyperparameters
from prediction.neural.training import TrainingExamples, fit, predict

_AUGMENTATIONS = ("time_shift", "noise", "masks", "gain", "tilt", "stretch", "hide")
_MIN_SPREAD = 1e-6


@dataclass(frozen=True)
class DamageEvaluation:
    """Metrics on the test part of what answers, with those of the simple rules and of the network.

    Parameters
    ----------
    network_macro_f1, validation_macro_f1 : float
        Of the network on the test and on the validation part; far apart, specimens differ.
    rule : LinearRule, optional
        The rule that answers because the network errs more; None where the network answers.
    """

    served: ClassificationMetrics
    network_macro_f1: float
    validation_macro_f1: float
    baselines: dict[str, ClassificationMetrics]
    rule: LinearRule | None = None


@dataclass(frozen=True)
class TrainedDamageModel:
    """A trained network with everything that its saved copy needs.

    Parameters
    ----------
    arguments : mapping
        The arguments of the network's class.
    run : TrainingRun
        Of the network that was evaluated.
    blend_weights : ndarray, optional
        Of the network and of each regression beside it, from the validation part.
    evaluated : TrainedDamageModel, optional
        The model that was evaluated, where this one has been fitted to all recordings afterwards.
    """

    model_type: str
    arguments: Mapping[str, float]
    network: DamageNetwork
    run: TrainingRun
    postprocessor: DamagePostprocessor
    evaluation: DamageEvaluation
    options: Options
    blend_weights: NDArray[np.float64] | None = None
    evaluated: TrainedDamageModel | None = None


def train_damage_model(
    prepared: PreparedRecordings,
    options: Options,
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> TrainedDamageModel:
    """Train the network that the options name."""
    train, validation, transform = prepared.train, prepared.validation, prepared.transform
    network, arguments = build_network(prepared, options)
    run = fit(
        network,
        to_examples(train, choose_augmentation(options, transform)),
        to_examples(validation),
        read_hyperparameters(options),
        loss=create_loss(train, len(prepared.classes), options),
        accuracy=accuracy,
        callbacks=default_callbacks(options["early_stopping_patience"]),
        progress=progress,
        checkpoint=checkpoint,
        cancelled=cancelled,
    )
    blend_weights = None
    if options["linear_blend"]:
        image_counts = [transform.levels, transform.modulations]
        blend_weights = add_linear_blend(network, train, validation, image_counts)
        arguments = {**arguments, "linear_images": network.linear_images}
    temperature = fit_temperature(compute_logits(network, validation.images), validation.targets)
    novelty = Novelty.fit(
        band_levels(train.images[:, : transform.levels]),
        train.targets,
        band_levels(validation.images[:, : transform.levels]),
    )
    postprocessor = DamagePostprocessor(prepared.classes, transform, temperature, novelty)
    model_used, evaluation = choose_served(network, postprocessor, prepared)
    if evaluation.rule is not None:
        postprocessor = replace(postprocessor, temperature=1.0, model_used=model_used)
    return TrainedDamageModel(
        options["model_type"], arguments, network, run, postprocessor, evaluation, options, blend_weights
    )


def refit_damage_model(
    model: TrainedDamageModel,
    prepared: PreparedRecordings,
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> TrainedDamageModel:
    """Fit what answers again to all recordings; the evaluation stays that of the fit that held some out.

    No part is left to choose on. The number of epochs, their learning rates, the weights of the regressions, the
    temperature and the novelty threshold are those of the evaluated fit. Where a simple rule answers, only the rule
    is fitted again.
    """
    whole, transform, options = prepared.whole, prepared.transform, model.options
    levels = band_levels(whole.images[:, : transform.levels])
    novelty = model.postprocessor.novelty.refit(levels, whole.targets)
    refitted = replace(model, postprocessor=replace(model.postprocessor, novelty=novelty), evaluated=model)
    if model.evaluation.rule is not None:
        rules = fit_rules(whole, len(prepared.classes), transform.levels)
        rule = rules[model.postprocessor.model_used]
        return replace(refitted, evaluation=replace(model.evaluation, rule=rule))

    def report_epoch(stage: str, **facts: object) -> None:
        # Not "epoch": the losses of that event are drawn as those of the evaluated fit.
        progress("refit_epoch", **facts)

    network, _ = build_network(replace(prepared, train=whole), options)
    best_epoch = model.run.best_epoch
    fit(
        network,
        to_examples(whole, choose_augmentation(options, transform)),
        None,
        replace(read_hyperparameters(options), epochs=best_epoch),
        loss=create_loss(whole, len(prepared.classes), options),
        callbacks=[ReplayLearningRates(model.run.history[:best_epoch])],
        progress=report_epoch,
        checkpoint=checkpoint,
        cancelled=cancelled,
    )
    if model.blend_weights is not None:
        image_counts = [transform.levels, transform.modulations]
        add_weighted_regressions(network, whole, image_counts, model.blend_weights)
    return replace(refitted, network=network)


def choose_served(
    network: DamageNetwork, postprocessor: DamagePostprocessor, prepared: PreparedRecordings
) -> tuple[str, DamageEvaluation]:
    """Evaluate network and simple rules on the test part; the name and metrics of the better one.

    A rule answers only where it is better by window and by recording: ties go to the network.
    """
    test = prepared.test
    measured, validated = (
        evaluate_probabilities(
            postprocessor.to_probabilities(compute_logits(network, part.images)), part.targets, part.owners
        )
        for part in (test, prepared.validation)
    )
    rules = fit_rules(prepared.train, len(prepared.classes), prepared.transform.levels)
    naive = {name: evaluate_rule(rule, test) for name, rule in rules.items()}
    best = max(rules, key=lambda name: naive[name].macro_f1)
    is_better = naive[best].macro_f1 > measured.macro_f1
    if is_better and np.mean(naive[best].losses) < np.mean(measured.losses):
        return best, DamageEvaluation(naive[best], measured.macro_f1, validated.macro_f1, naive, rules[best])
    return NETWORK, DamageEvaluation(measured, measured.macro_f1, validated.macro_f1, naive)


def build_network(prepared: PreparedRecordings, options: Options) -> tuple[DamageNetwork, dict[str, float]]:
    """Return a fresh network, initialised from the seed, and the arguments of its class."""
    torch.manual_seed(options["seed"])
    train_images = prepared.train.images
    images, bands, frames = train_images.shape[1:]
    sizes = {"images": images, "bands": bands, "frames": frames, "classes": len(prepared.classes)}
    chosen = {name: options[name] for name in ("channels", "blocks", "hidden_size", "dropout")}
    kind = NETWORKS[options["model_type"]]
    arguments = select_arguments(kind, {**sizes, **chosen})
    network = kind(**arguments)
    mean = train_images.mean(axis=(0, 2, 3), dtype=np.float64)
    spread = train_images.std(axis=(0, 2, 3), dtype=np.float64)
    # A band that never changes would be divided by zero.
    network.set_normalization(_to_tensor(mean), _to_tensor(np.maximum(spread, _MIN_SPREAD)))
    return network, arguments


def choose_augmentation(options: Options, transform: InputTransform) -> Augmentation | None:
    """Return the options' changes of training images; None where none are wanted."""
    if not options["augment"]:
        return None
    chosen = {name: options[name] for name in _AUGMENTATIONS}
    # Without modulations there would be little left to learn from where levels are hidden.
    if not transform.modulations:
        chosen["hide"] = 0.0
    return Augmentation(**chosen, levels=transform.levels)


def create_loss(train: ImageSplit, classes: int, options: Options) -> nn.CrossEntropyLoss:
    """Return cross-entropy; with class weights, every class counts as much as any other."""
    weights = None
    if options["class_weights"]:
        counts = np.bincount(train.targets, minlength=classes)
        weights = _to_tensor(len(train) / (classes * np.maximum(counts, 1)))
    return nn.CrossEntropyLoss(weights, label_smoothing=options["label_smoothing"])


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Return the share of a batch that is classified right."""
    return (output.argmax(1) == target).float().mean()


def to_examples(split: ImageSplit, augmentation: Augmentation | None = None) -> TrainingExamples:
    """Return the windows of a split as the training loop takes them."""
    images, targets = torch.from_numpy(split.images), torch.from_numpy(split.targets)
    return TrainingExamples(images, targets, augment=augmentation)


def compute_logits(network: DamageNetwork, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the network's output for images, as NumPy."""
    logits: NDArray[np.float32] = predict(network, torch.from_numpy(np.ascontiguousarray(images))).numpy()
    return logits


def _to_tensor(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
