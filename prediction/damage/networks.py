"""The networks, as PyTorch modules: images ``(batch, images, bands, frames)`` in, one logit a class out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class DamageNetwork(nn.Module):
    """What both networks share: images brought to the training's mean and spread, features, dense layers.

    Parameters
    ----------
    images, bands, frames : int
        The input's shape.
    classes : int
    channels : sequence of int
        Feature maps of each stage.
    hidden_size : int
        Of the dense layer before the last.
    second_opinion : int
        How many of the images, the first ones, a linear rule sees by the mean of each band over time; what it
        says is added to the logits (see blending). 0: there is no such rule.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, images: int, bands: int, frames: int, classes: int, linear_blend: int) -> None:
        super().__init__()
        self.input_shape = (images, bands, frames)
        self.classes = classes
        self.features: nn.Module = nn.Identity()
        self.head = nn.Sequential()
        self.rule = nn.Linear(linear_blend * bands, classes) if linear_blend else None
        self.register_buffer("mean", torch.zeros(images, 1, 1))
        self.register_buffer("spread", torch.ones(images, 1, 1))

    def settle(self, mean: Tensor, spread: Tensor) -> None:
        """Take over the training images' mean and spread, by image ``(images,)``."""
        self.mean.copy_(mean.reshape(-1, 1, 1))
        self.spread.copy_(spread.reshape(-1, 1, 1))

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Logits ``(batch, classes)``."""
        logits: Tensor = self.head(self.features((spectrograms - self.mean) / self.spread))
        if self.rule is None:
            return logits
        told: Tensor = self.rule(self.bands(spectrograms, self.rule.in_features // self.input_shape[1]))
        return logits + told

    def bands(self, spectrograms: Tensor, images: int) -> Tensor:
        """What a rule sees of the first images: each band's mean over time, ``(batch, images * bands)``."""
        means = spectrograms[:, :images].mean(3, keepdim=True)
        return ((means - self.mean[:images]) / self.spread[:images]).flatten(1)

    def _dense(self, width: int, hidden_size: int, dropout: float) -> nn.Sequential:
        return nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(width, hidden_size),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, self.classes),
        )


class TimePooling(nn.Module):
    """Mean and maximum over the frames: what is seen counts, not when."""

    def forward(self, maps: Tensor) -> Tensor:
        """``(batch, channels, bands, frames)`` → ``(batch, 2 * channels, bands)``."""
        return torch.cat([maps.mean(3), maps.amax(3)], dim=1)


class SpectrogramCNN(DamageNetwork):
    """Blocks of convolution, batch norm, ReLU and pooling, then dense layers; bands keep their place."""

    def __init__(
        self,
        images: int,
        bands: int,
        frames: int,
        classes: int,
        *,
        channels: Sequence[int] = (16, 32, 64),
        hidden_size: int = 64,
        dropout: float = 0.3,
        linear_blend: int = 0,
    ) -> None:
        super().__init__(images, bands, frames, classes, linear_blend)
        layers: list[nn.Module] = []
        before, height, width = images, bands, frames
        for count in channels:
            pool = (2 if height >= 4 else 1, 2 if width >= 4 else 1)
            layers += [_convolution(before, count), nn.BatchNorm2d(count), nn.ReLU(), nn.MaxPool2d(pool)]
            before, height, width = count, height // pool[0], width // pool[1]
        self.features = nn.Sequential(*layers, TimePooling())
        self.head = self._dense(2 * before * height, hidden_size, dropout)


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip connection (He et al., CVPR 2016)."""

    def __init__(self, before: int, count: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            _convolution(before, count, stride),
            nn.BatchNorm2d(count),
            nn.ReLU(),
            _convolution(count, count),
            nn.BatchNorm2d(count),
        )
        same = before == count and stride == 1
        skip = nn.Sequential(nn.Conv2d(before, count, 1, stride, bias=False), nn.BatchNorm2d(count))
        self.skip = nn.Identity() if same else skip

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of ``count`` channels, smaller by ``stride``."""
        return torch.relu(self.convolutions(maps) + self.skip(maps))


class SpectrogramResNet(DamageNetwork):
    """Stages of residual blocks, each half the size of the one before, then a dense head."""

    def __init__(
        self,
        images: int,
        bands: int,
        frames: int,
        classes: int,
        *,
        channels: Sequence[int] = (16, 32, 64),
        blocks: int = 2,
        hidden_size: int = 64,
        dropout: float = 0.3,
        linear_blend: int = 0,
    ) -> None:
        super().__init__(images, bands, frames, classes, linear_blend)
        layers: list[nn.Module] = [_convolution(images, channels[0]), nn.BatchNorm2d(channels[0]), nn.ReLU()]
        before, height = channels[0], bands
        for stage, count in enumerate(channels):
            for block in range(blocks):
                stride = 2 if block == 0 and stage > 0 else 1
                layers.append(ResidualBlock(before, count, stride))
                before, height = count, -(-height // stride)
        self.features = nn.Sequential(*layers, TimePooling())
        self.head = self._dense(2 * before * height, hidden_size, dropout)


def _convolution(before: int, count: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, count, 3, stride, padding=1, bias=False)


NETWORKS: dict[str, type[DamageNetwork]] = {"cnn": SpectrogramCNN, "resnet": SpectrogramResNet}
"""By the name that the option ``model_type`` and ``model_info.json`` use."""


def select_arguments(model_type: str, offered: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the offered values that the network's class takes, by name."""
    taken = inspect.signature(NETWORKS[model_type]).parameters
    return {name: value for name, value in offered.items() if name in taken}
