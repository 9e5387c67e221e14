"""The networks, as PyTorch modules: images ``(batch, images, bands, frames)`` in, one logit a class out.

This file needs PyTorch only, so that people can open ``model.pth`` with a copy of it.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    linear_images : int
        How many of the images, the first ones, a linear layer sees by the mean of each band over time; its
        output is added to the logits (see model/ensemble.py). 0: there is no such layer.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, images: int, bands: int, frames: int, classes: int, linear_images: int) -> None:
        super().__init__()
        self.input_shape = (images, bands, frames)
        self.classes = classes
        self.features: nn.Module = nn.Identity()
        self.head = nn.Sequential()
        self.rule = nn.Linear(linear_images * bands, classes) if linear_images else None
        self.register_buffer("mean", torch.zeros(images, 1, 1))
        self.register_buffer("spread", torch.ones(images, 1, 1))

    def set_normalization(self, mean: Tensor, spread: Tensor) -> None:
        """Store the training images' mean and spread, by image ``(images,)``."""
        self.mean.copy_(mean.reshape(-1, 1, 1))
        self.spread.copy_(spread.reshape(-1, 1, 1))

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Return logits ``(batch, classes)``."""
        logits: Tensor = self.head(self.features((spectrograms - self.mean) / self.spread))
        if self.rule is None:
            return logits
        linear: Tensor = self.rule(self.band_means(spectrograms, self.linear_images))
        return logits + linear

    @property
    def linear_images(self) -> int:
        """How many images the linear layer sees."""
        return 0 if self.rule is None else self.rule.in_features // self.input_shape[1]

    def band_means(self, spectrograms: Tensor, images: int) -> Tensor:
        """Return each band's mean over time in the first images, ``(batch, images * bands)``."""
        means = spectrograms[:, :images].mean(3, keepdim=True)
        return ((means - self.mean[:images]) / self.spread[:images]).flatten(1)

    def _create_head(self, width: int, hidden_size: int, dropout: float) -> nn.Sequential:
        return nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(width, hidden_size),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, self.classes),
        )


class TimePooling(nn.Module):
    """Mean and maximum over the frames: it counts what occurs, not when."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return ``(batch, 2 * channels, bands)`` of ``(batch, channels, bands, frames)``."""
        return torch.cat([maps.mean(3), maps.amax(3)], dim=1)


class SpectrogramCNN(DamageNetwork):
    """Blocks of convolution, batch norm, ReLU and pooling, then dense layers that see where each band is."""

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
        linear_images: int = 0,
    ) -> None:
        super().__init__(images, bands, frames, classes, linear_images)
        layers: list[nn.Module] = []
        inputs, height, width = images, bands, frames
        for count in channels:
            # Small images are not pooled away.
            pool = (2 if height >= 4 else 1, 2 if width >= 4 else 1)
            layers += [_convolution(inputs, count), nn.BatchNorm2d(count), nn.ReLU(), nn.MaxPool2d(pool)]
            inputs, height, width = count, height // pool[0], width // pool[1]
        self.features = nn.Sequential(*layers, TimePooling())
        self.head = self._create_head(2 * inputs * height, hidden_size, dropout)


class ResidualBlock(nn.Module):
    """Two convolutions with a skip connection (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, count: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            _convolution(inputs, count, stride),
            nn.BatchNorm2d(count),
            nn.ReLU(),
            _convolution(count, count),
            nn.BatchNorm2d(count),
        )
        is_identity = inputs == count and stride == 1
        skip = nn.Sequential(nn.Conv2d(inputs, count, 1, stride, bias=False), nn.BatchNorm2d(count))
        self.skip = nn.Identity() if is_identity else skip

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of ``count`` channels, smaller by ``stride``."""
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
        linear_images: int = 0,
    ) -> None:
        super().__init__(images, bands, frames, classes, linear_images)
        layers: list[nn.Module] = [_convolution(images, channels[0]), nn.BatchNorm2d(channels[0]), nn.ReLU()]
        inputs, height = channels[0], bands
        for stage, count in enumerate(channels):
            for block in range(blocks):
                stride = 2 if block == 0 and stage > 0 else 1
                layers.append(ResidualBlock(inputs, count, stride))
                inputs, height = count, -(-height // stride)
        self.features = nn.Sequential(*layers, TimePooling())
        self.head = self._create_head(2 * inputs * height, hidden_size, dropout)


def _convolution(inputs: int, count: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, count, 3, stride, padding=1, bias=False)


# By the name that the option ``model_type`` and ``model_info.json`` use.
NETWORKS: dict[str, type[DamageNetwork]] = {"cnn": SpectrogramCNN, "resnet": SpectrogramResNet}
