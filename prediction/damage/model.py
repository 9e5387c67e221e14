"""What learns: a network on the training images, its temperature, and what it takes for unlike them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prediction.checkpoint import Checkpoint
from prediction.contract import JSON, Progress, silent
from prediction.damage.answers import Answering
from prediction.damage.augment import Augmentation
from prediction.damage.blending import blend
from prediction.damage.evaluation import best_temperature
from prediction.damage.networks import NETWORKS, DamageNetwork, arguments
from prediction.damage.novelty import Novelty, band_levels
from prediction.damage.prepare import Part, PreparedSound
from prediction.damage.sound import Sound
from prediction.listeners import EarlyStopping, Listener, Recipe, ReduceOnPlateau, Run
from prediction.neural import Examples, fit, predict

_AUGMENTATIONS = ("time_shift", "noise", "masks", "gain", "tilt", "stretch", "hide")
_RECIPE = ("epochs", "batch_size", "learning_rate", "weight_decay", "seed")


@dataclass(frozen=True)
class Listening:
    """A trained network with everything that its saved copy needs.

    Parameters
    ----------
    given : dict
        The arguments of the network's class.
    """

    model_type: str
    given: JSON
    network: DamageNetwork
    run: Run
    answering: Answering
    options: JSON


def learn(
    prepared: PreparedSound,
    options: JSON,
    progress: Progress = silent,
    checkpoint: Checkpoint | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Listening:
    """Train the network that the options name."""
    train, validation, sound = prepared.train, prepared.validation, prepared.heard
    network, given = build(prepared, options)
    run = fit(
        network,
        examples(train, augmentation(options, sound)),
        examples(validation),
        Recipe(**{name: options[name] for name in _RECIPE}),
        loss=loss(train, len(prepared.classes), options),
        measures={"accuracy": accuracy},
        listeners=listeners(options),
        progress=progress,
        checkpoint=checkpoint,
        cancelled=cancelled,
    )
    if options["second_opinion"]:
        blend(network, train, validation, [sound.levels, sound.modulations])
        given = {**given, "second_opinion": sound.levels + sound.modulations}
    answering = Answering(
        prepared.classes,
        sound,
        best_temperature(logits(network, validation.images), validation.targets),
        Novelty.fitted(
            band_levels(train.images[:, : sound.levels]),
            train.targets,
            band_levels(validation.images[:, : sound.levels]),
        ),
    )
    return Listening(options["model_type"], given, network, run, answering, options)


def build(prepared: PreparedSound, options: Mapping[str, Any]) -> tuple[DamageNetwork, JSON]:
    """A fresh network, made from the seed, and the arguments of its class."""
    torch.manual_seed(options["seed"])
    images, bands, frames = prepared.train.images.shape[1:]
    sizes = {"images": images, "bands": bands, "frames": frames, "classes": len(prepared.classes)}
    chosen = {name: options[name] for name in ("channels", "blocks", "hidden_size", "dropout")}
    given = arguments(options["model_type"], {**sizes, **chosen})
    network = NETWORKS[options["model_type"]](**given)
    seen = prepared.train.images
    mean, spread = seen.mean(axis=(0, 2, 3), dtype=np.float64), seen.std(axis=(0, 2, 3), dtype=np.float64)
    network.settle(_tensor(mean), _tensor(np.maximum(spread, 1e-6)))
    return network, given


def augmentation(options: JSON, sound: Sound) -> Augmentation | None:
    """The options' changes of training images; None where none are wanted.

    Levels are hidden only where modulations are there to be looked at instead.
    """
    if not options["augment"]:
        return None
    asked = {name: options[name] for name in _AUGMENTATIONS}
    if not sound.modulations:
        asked["hide"] = 0.0
    return Augmentation(**asked, levels=sound.levels)


def loss(train: Part, classes: int, options: JSON) -> nn.CrossEntropyLoss:
    """Cross-entropy; with class weights, every class counts as much as any other."""
    counts = np.bincount(train.targets, minlength=classes)
    weights = _tensor(len(train) / (classes * np.maximum(counts, 1))) if options["class_weights"] else None
    return nn.CrossEntropyLoss(weights, label_smoothing=options["label_smoothing"])


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of a batch that is told right."""
    return (output.argmax(1) == target).float().mean()


def listeners(options: JSON) -> list[Listener]:
    """Halve the rate on a plateau; stop when patience is at its end."""
    patience = options["early_stopping_patience"]
    return [ReduceOnPlateau(0.5, max(2, patience // 3)), EarlyStopping(patience)]


def examples(part: Part, change: Augmentation | None = None) -> Examples:
    """The windows of a part as the loop takes them."""
    return Examples(torch.from_numpy(part.images), torch.from_numpy(part.targets), change=change)


def logits(network: DamageNetwork, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The network's output for images, as NumPy."""
    output: NDArray[np.float32] = predict(network, torch.from_numpy(np.ascontiguousarray(images))).numpy()
    return output


def _tensor(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
