"""The same network for Keras: ``model.keras`` and ``model.h5``, made on demand and proven to answer alike."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import Tensor, nn

from errors import MissingExtra
from prediction.damage.intake import KERAS_MISSING
from prediction.damage.networks import NETWORKS, DamageNetwork, ResidualBlock, TimePooling
from prediction.damage.spectrograms.spectrogram import Floats
from prediction.onnx import OnnxModel, check_outputs_match

_EXAMPLES = 64
_ATOL = 1e-4


def write(folder: Path, target: Path) -> None:
    """Write a version's network as Keras knows it; the suffix of ``target`` chooses the format.

    As of ``model.onnx``, ``(batch, images, bands, frames)`` goes in and logits come out; inside, channels are
    last, which TensorFlow needs on a CPU.

    Raises
    ------
    MissingExtra
        Keras is not installed.
    ParityFailed
        What was written and read again does not answer like ``model.onnx`` in batches of 1, 2, 7 and 64.
    """
    keras = _imported(target.parent)
    info = json.loads((folder / "model_info.json").read_text(encoding="utf-8"))
    network = NETWORKS[info["architecture"]](**info["arguments"])
    network.load_state_dict(load_file(folder / "model.safetensors"))
    network.eval()
    translated(network, keras).save(target)
    again = keras.models.load_model(target, compile=False)
    check_outputs_match(
        OnnxModel(folder / "model.onnx"), again.predict_on_batch, _examples(network), atol=_ATOL
    )


def translated(network: DamageNetwork, keras: Any) -> Any:
    """A Keras model with the layers and weights of a network."""
    images = keras.Input(network.input_shape, name="spectrograms")
    layers = _Layers(keras)
    seen = keras.layers.Permute((2, 3, 1))(images)
    mean, variance = network.mean.flatten().tolist(), (network.spread**2).flatten().tolist()
    seen = keras.layers.Normalization(mean=mean, variance=variance)(seen)
    logits = layers(network.head, layers(network.features, seen))
    if network.rule is not None:
        count, bands, frames = network.input_shape
        means = layers.by_images(keras.layers.AveragePooling2D((1, frames))(seen))
        hidden = count - network.rule.in_features // bands
        shown = keras.layers.Cropping2D(((0, hidden), (0, 0)))(means)
        logits = keras.layers.Add()([logits, layers(network.rule, keras.layers.Flatten()(shown))])
    return keras.Model(images, logits, name=type(network).__name__)


class _Layers:
    """PyTorch modules as Keras layers, applied to a Keras tensor ``(batch, bands, frames, maps)``."""

    def __init__(self, keras: Any) -> None:
        self.keras = keras
        self.kinds: dict[type[nn.Module], Callable[[Any, Any], Any]] = {
            nn.Sequential: self._sequential,
            nn.Conv2d: self._convolution,
            nn.BatchNorm2d: self._batch_norm,
            nn.ReLU: lambda module, seen: keras.layers.ReLU()(seen),
            nn.MaxPool2d: lambda module, seen: keras.layers.MaxPooling2D(module.kernel_size)(seen),
            nn.Dropout: lambda module, seen: keras.layers.Dropout(module.p)(seen),
            nn.Identity: lambda module, seen: seen,
            nn.Flatten: lambda module, seen: keras.layers.Flatten()(seen),
            nn.Linear: self._dense,
            TimePooling: self._over_time,
            ResidualBlock: self._residual,
        }

    def __call__(self, module: nn.Module, seen: Any) -> Any:
        return self.kinds[type(module)](module, seen)

    def by_images(self, seen: Any) -> Any:
        """``(batch, bands, 1, maps)`` in the order in which PyTorch flattens: maps, then bands."""
        return self.keras.layers.Permute((3, 1, 2))(seen)

    def _sequential(self, module: nn.Sequential, seen: Any) -> Any:
        for inner in module:
            seen = self(inner, seen)
        return seen

    def _convolution(self, module: nn.Conv2d, seen: Any) -> Any:
        """Padded on both sides whatever the stride, which Keras' own ``same`` is not."""
        if any(int(side) for side in module.padding):
            seen = self.keras.layers.ZeroPadding2D(tuple(int(side) for side in module.padding))(seen)
        sizes = {"kernel_size": module.kernel_size, "strides": module.stride}
        layer = self.keras.layers.Conv2D(module.out_channels, use_bias=False, **sizes)
        return _applied(layer, seen, [module.weight.permute(2, 3, 1, 0)])

    def _batch_norm(self, module: nn.BatchNorm2d, seen: Any) -> Any:
        layer = self.keras.layers.BatchNormalization(epsilon=module.eps, momentum=0.9)
        assert module.running_mean is not None and module.running_var is not None
        return _applied(layer, seen, [module.weight, module.bias, module.running_mean, module.running_var])

    def _dense(self, module: nn.Linear, seen: Any) -> Any:
        layer = self.keras.layers.Dense(module.out_features, use_bias=module.bias is not None)
        weights = [module.weight.T] if module.bias is None else [module.weight.T, module.bias]
        return _applied(layer, seen, weights)

    def _over_time(self, module: TimePooling, seen: Any) -> Any:
        whole = (1, seen.shape[2])
        both = [
            pool(whole)(seen) for pool in (self.keras.layers.AveragePooling2D, self.keras.layers.MaxPooling2D)
        ]
        return self.by_images(self.keras.layers.Concatenate()(both))

    def _residual(self, module: ResidualBlock, seen: Any) -> Any:
        sides = [self(module.convolutions, seen), self(module.skip, seen)]
        return self.keras.layers.ReLU()(self.keras.layers.Add()(sides))


def _applied(layer: Any, seen: Any, weights: list[Tensor]) -> Any:
    made = layer(seen)
    layer.set_weights([value.detach().numpy() for value in weights])
    return made


def _imported(home: Path) -> Any:
    """Keras on the PyTorch that is there already, leaving nothing in the user's home folder."""
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["KERAS_HOME"] = str(home)
    logging.getLogger("absl").setLevel(logging.ERROR)  # warns of .h5, which was asked for
    try:
        import keras
    except ImportError as error:
        raise MissingExtra(KERAS_MISSING) from error
    return keras


def _examples(network: DamageNetwork) -> Floats:
    """Images with the mean and spread of the training's."""
    chance = np.random.default_rng(0)
    drawn = chance.normal(size=(_EXAMPLES, *network.input_shape))
    made: Floats = (drawn * network.spread.numpy() + network.mean.numpy()).astype(np.float32)
    return made
