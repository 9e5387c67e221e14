"""What learns: a network on the training images, its temperature, and what it takes for unlike them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prediction.contract import JSON, Progress, no_progress
from prediction.damage.data.preparation import ImageSplit, PreparedRecordings
from prediction.damage.evaluation.metrics import fit_temperature
from prediction.damage.model.augmentation import Augmentation
from prediction.damage.model.ensemble import add_linear_blend
from prediction.damage.model.novelty import Novelty, band_levels
from prediction.damage.networks import NETWORKS, DamageNetwork, select_arguments
from prediction.damage.serving.postprocess import DamagePostprocessor
from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.neural.callbacks import (
    Callback,
    EarlyStopping,
    NeuralHyperparameters,
    ReduceOnPlateau,
    TrainingRun,
)
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.training import TrainingExamples, fit, predict

_AUGMENTATIONS = ("time_shift", "noise", "masks", "gain", "tilt", "stretch", "hide")
_RECIPE = ("epochs", "batch_size", "learning_rate", "weight_decay", "seed")


@dataclass(frozen=True)
class TrainedDamageModel:
    """A trained network with everything that its saved copy needs.

    Parameters
    ----------
    given : dict
        The arguments of the network's class.
    """

    model_type: str
    given: JSON
    network: DamageNetwork
    run: TrainingRun
    answering: DamagePostprocessor
    options: JSON


def train_damage_model(
    prepared: PreparedRecordings,
    options: JSON,
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> TrainedDamageModel:
    """Train the network that the options name."""
    train, validation, sound = prepared.train, prepared.validation, prepared.heard
    network, given = build_network(prepared, options)
    run = fit(
        network,
        examples(train, augmentation(options, sound)),
        examples(validation),
        NeuralHyperparameters(**{name: options[name] for name in _RECIPE}),
        loss=loss(train, len(prepared.classes), options),
        metrics={"accuracy": accuracy},
        callbacks=callbacks(options),
        progress=progress,
        checkpoint=checkpoint,
        cancelled=cancelled,
    )
    if options["linear_blend"]:
        add_linear_blend(network, train, validation, [sound.levels, sound.modulations])
        given = {**given, "linear_blend": sound.levels + sound.modulations}
    answering = DamagePostprocessor(
        prepared.classes,
        sound,
        fit_temperature(compute_logits(network, validation.images), validation.targets),
        Novelty.fitted(
            band_levels(train.images[:, : sound.levels]),
            train.targets,
            band_levels(validation.images[:, : sound.levels]),
        ),
    )
    return TrainedDamageModel(options["model_type"], given, network, run, answering, options)


def build_network(prepared: PreparedRecordings, options: Mapping[str, Any]) -> tuple[DamageNetwork, JSON]:
    """A fresh network, made from the seed, and the arguments of its class."""
    torch.manual_seed(options["seed"])
    images, bands, frames = prepared.train.images.shape[1:]
    sizes = {"images": images, "bands": bands, "frames": frames, "classes": len(prepared.classes)}
    chosen = {name: options[name] for name in ("channels", "blocks", "hidden_size", "dropout")}
    given = select_arguments(options["model_type"], {**sizes, **chosen})
    network = NETWORKS[options["model_type"]](**given)
    seen = prepared.train.images
    mean, spread = seen.mean(axis=(0, 2, 3), dtype=np.float64), seen.std(axis=(0, 2, 3), dtype=np.float64)
    network.settle(_tensor(mean), _tensor(np.maximum(spread, 1e-6)))
    return network, given


def augmentation(options: JSON, sound: InputTransform) -> Augmentation | None:
    """The options' changes of training images; None where none are wanted.

    Levels are hidden only where modulations are there to be looked at instead.
    """
    if not options["augment"]:
        return None
    asked = {name: options[name] for name in _AUGMENTATIONS}
    if not sound.modulations:
        asked["hide"] = 0.0
    return Augmentation(**asked, levels=sound.levels)


def loss(train: ImageSplit, classes: int, options: JSON) -> nn.CrossEntropyLoss:
    """Cross-entropy; with class weights, every class counts as much as any other."""
    counts = np.bincount(train.targets, minlength=classes)
    weights = _tensor(len(train) / (classes * np.maximum(counts, 1))) if options["class_weights"] else None
    return nn.CrossEntropyLoss(weights, label_smoothing=options["label_smoothing"])


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of a batch that is told right."""
    return (output.argmax(1) == target).float().mean()


def callbacks(options: JSON) -> list[Callback]:
    """Halve the rate on a plateau; stop when patience is at its end."""
    patience = options["early_stopping_patience"]
    return [ReduceOnPlateau(0.5, max(2, patience // 3)), EarlyStopping(patience)]


def examples(part: ImageSplit, change: Augmentation | None = None) -> TrainingExamples:
    """The windows of a part as the loop takes them."""
    return TrainingExamples(torch.from_numpy(part.images), torch.from_numpy(part.targets), augment=change)


def compute_logits(network: DamageNetwork, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The network's output for images, as NumPy."""
    output: NDArray[np.float32] = predict(network, torch.from_numpy(np.ascontiguousarray(images))).numpy()
    return output


def _tensor(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
