"""Convert the network to Keras: ``model.keras`` and ``model.h5``, on request, checked against ONNX."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import Tensor, nn

from errors import MissingExtra
from prediction.damage.networks import NETWORKS, DamageNetwork, ResidualBlock, TimePooling
from prediction.damage.requests import KERAS_MISSING
from prediction.onnx import OnnxModel, check_outputs_match

# Keras is installed on request only, so its types are unknown here.
KerasTensor = Any
KerasModel = Any

_EXAMPLES = 64
_ATOL = 1e-4


def write_keras_file(folder: Path, target: Path) -> None:
    """Write a version's network for Keras; the suffix of ``target`` chooses the format.

    As for ``model.onnx``, ``(batch, images, bands, frames)`` goes in and logits come out; inside, channels are
    last, which TensorFlow needs on a CPU.

    Raises
    ------
    MissingExtra
        Keras is not installed.
    ParityFailed
        The file does not answer like ``model.onnx`` in batches of 1, 2, 7 and 64.
    """
    keras = _import_keras(target.parent)
    info = json.loads((folder / "model_info.json").read_text(encoding="utf-8"))
    # Version 0.1 called the images of the linear layer second_opinion.
    names = {"second_opinion": "linear_images"}
    arguments = {names.get(name, name): value for name, value in info["arguments"].items()}
    network = NETWORKS[info["architecture"]](**arguments)
    network.load_state_dict(load_file(folder / "model.safetensors"))
    network.eval()
    convert(network, keras).save(target)
    loaded = keras.models.load_model(target, compile=False)
    # Images with the mean and spread of the training's, so that every layer works in its usual range.
    noise = np.random.default_rng(0).normal(size=(_EXAMPLES, *network.input_shape))
    images = (noise * network.spread.numpy() + network.mean.numpy()).astype(np.float32)
    check_outputs_match(OnnxModel(folder / "model.onnx"), loaded.predict_on_batch, images, atol=_ATOL)


def convert(network: DamageNetwork, keras: ModuleType) -> KerasModel:
    """Return a Keras model with the layers and weights of a network."""
    converter = _LayerConverter(keras)
    images = keras.Input(network.input_shape, name="spectrograms")
    channels_last = keras.layers.Permute((2, 3, 1))(images)
    mean, variance = network.mean.flatten().tolist(), (network.spread**2).flatten().tolist()
    normalized = keras.layers.Normalization(mean=mean, variance=variance)(channels_last)
    logits = converter(network.head, converter(network.features, normalized))
    if network.rule is not None:
        count, _, frames = network.input_shape
        means = converter.by_images(keras.layers.AveragePooling2D((1, frames))(normalized))
        others = count - network.linear_images
        first = keras.layers.Cropping2D(((0, others), (0, 0)))(means)
        logits = keras.layers.Add()([logits, converter(network.rule, keras.layers.Flatten()(first))])
    return keras.Model(images, logits, name=type(network).__name__)


class _LayerConverter:
    """PyTorch modules as Keras layers, applied to a Keras tensor ``(batch, bands, frames, maps)``."""

    def __init__(self, keras: ModuleType) -> None:
        self.keras = keras
        self.converters: dict[type[nn.Module], Callable[[Any, KerasTensor], KerasTensor]] = {
            nn.Sequential: self.convert_sequence,
            nn.Conv2d: self.convert_convolution,
            nn.BatchNorm2d: self.convert_batch_norm,
            nn.ReLU: lambda module, inputs: keras.layers.ReLU()(inputs),
            nn.MaxPool2d: lambda module, inputs: keras.layers.MaxPooling2D(module.kernel_size)(inputs),
            nn.Dropout: lambda module, inputs: keras.layers.Dropout(module.p)(inputs),
            nn.Identity: lambda module, inputs: inputs,
            nn.Flatten: lambda module, inputs: keras.layers.Flatten()(inputs),
            nn.Linear: self.convert_linear,
            TimePooling: self.convert_time_pooling,
            ResidualBlock: self.convert_residual,
        }

    def __call__(self, module: nn.Module, inputs: KerasTensor) -> KerasTensor:
        return self.converters[type(module)](module, inputs)

    def by_images(self, maps: KerasTensor) -> KerasTensor:
        """Return ``(batch, bands, 1, maps)`` in the order in which PyTorch flattens: maps, then bands."""
        return self.keras.layers.Permute((3, 1, 2))(maps)

    def convert_sequence(self, module: nn.Sequential, inputs: KerasTensor) -> KerasTensor:
        for inner in module:
            inputs = self(inner, inputs)
        return inputs

    def convert_convolution(self, module: nn.Conv2d, inputs: KerasTensor) -> KerasTensor:
        # Padded on both sides whatever the stride, which Keras' own "same" is not.
        if any(int(side) for side in module.padding):
            inputs = self.keras.layers.ZeroPadding2D(tuple(int(side) for side in module.padding))(inputs)
        sizes = {"kernel_size": module.kernel_size, "strides": module.stride}
        layer = self.keras.layers.Conv2D(module.out_channels, use_bias=False, **sizes)
        return _apply_layer(layer, inputs, [module.weight.permute(2, 3, 1, 0)])

    def convert_batch_norm(self, module: nn.BatchNorm2d, inputs: KerasTensor) -> KerasTensor:
        layer = self.keras.layers.BatchNormalization(epsilon=module.eps, momentum=0.9)
        statistics = [module.weight, module.bias, module.running_mean, module.running_var]
        return _apply_layer(layer, inputs, [tensor for tensor in statistics if tensor is not None])

    def convert_linear(self, module: nn.Linear, inputs: KerasTensor) -> KerasTensor:
        layer = self.keras.layers.Dense(module.out_features, use_bias=module.bias is not None)
        weights = [module.weight.T] if module.bias is None else [module.weight.T, module.bias]
        return _apply_layer(layer, inputs, weights)

    def convert_time_pooling(self, module: TimePooling, inputs: KerasTensor) -> KerasTensor:
        layers, window = self.keras.layers, (1, inputs.shape[2])
        pooled = [layers.AveragePooling2D(window)(inputs), layers.MaxPooling2D(window)(inputs)]
        return self.by_images(layers.Concatenate()(pooled))

    def convert_residual(self, module: ResidualBlock, inputs: KerasTensor) -> KerasTensor:
        branches = [self(module.convolutions, inputs), self(module.skip, inputs)]
        return self.keras.layers.ReLU()(self.keras.layers.Add()(branches))


def _apply_layer(layer: KerasModel, inputs: KerasTensor, weights: Sequence[Tensor]) -> KerasTensor:
    outputs = layer(inputs)
    layer.set_weights([value.detach().numpy() for value in weights])
    return outputs


def _import_keras(home: Path) -> ModuleType:
    """Import Keras on the installed PyTorch; nothing is written into the user's home folder."""
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["KERAS_HOME"] = str(home)
    # Keras warns that .h5 is an old format, which is what the caller asked for.
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        return import_module("keras")
    except ImportError as error:
        raise MissingExtra(KERAS_MISSING) from error
