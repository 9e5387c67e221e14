"""Changes of training images that leave the class as it is: another day, mount or specimen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

_TILT_POINTS = 4


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a batch of log-power images ``(batch, images, bands, frames)``, drawn for each alone.

    Parameters
    ----------
    time_shift : float
        Largest shift along time, as a share of the frames; what leaves on one side enters on the other.
    noise : float
        Largest power of added white noise, as a share of the image's mean power.
    masks : float
        Largest share of the bands, and of the frames, that one mask covers (SpecAugment, Park et al.,
        Interspeech 2019): one mask each.
    gain : float
        Largest change of the level, in the images' unit (natural logarithm of power).
    tilt : float
        Largest change of the level by band, drawn at four points and linear between: another specimen's
        transfer path (FilterAugment, Nam et al., ICASSP 2022).
    stretch : int
        Largest shift along the bands: on a log-frequency scale, another speed.
    levels : int, optional
        How many of the images show levels, the first ones: noise, gain and tilt change these only.
    hide : float
        Share of the examples whose levels are hidden, so that the network learns from modulations and phases
        as well: levels tell known specimens apart so well that it would look at nothing else.
    """

    time_shift: float = 0.5
    noise: float = 0.1
    masks: float = 0.2
    gain: float = 0.0
    tilt: float = 0.0
    stretch: int = 0
    levels: int | None = None
    hide: float = 0.0

    def __call__(self, images: Tensor) -> Tensor:
        """Return a changed copy."""
        frames = images.shape[3]
        images = _shift(images, (_draw(images) * self.time_shift * frames).round().long(), 3, wrap=True)
        if self.stretch:
            images = _shift(images, (_draw(images) * self.stretch).round().long(), 2, wrap=False)
        levels = images[:, : self.levels]
        if self.noise:
            share = self.noise * torch.rand(len(levels), 1, 1, 1, device=levels.device) ** 2
            power = levels.exp()
            level = power.mean(dim=(2, 3), keepdim=True)
            # The power of white noise in one bin is exponentially distributed.
            noise = -torch.log(torch.rand_like(power) + 1e-6)
            levels = torch.log(power + level * share * noise)
        if self.gain or self.tilt:
            levels = levels + self._draw_level_curves(images)
        if self.hide:
            is_hidden = torch.rand(len(levels), 1, 1, 1, device=levels.device) < self.hide
            levels = torch.where(is_hidden, levels.mean(dim=(0, 2, 3), keepdim=True), levels)
        return self._mask(torch.cat([levels, images[:, levels.shape[1] :]], dim=1))

    def _draw_level_curves(self, images: Tensor) -> Tensor:
        """Return a change of the level by band, shape (batch, 1, bands, 1)."""
        level = self.gain * _draw(images)
        points = self.tilt * (2 * torch.rand(len(images), 1, _TILT_POINTS, device=images.device) - 1)
        curve = interpolate(points, images.shape[2], mode="linear", align_corners=True)
        return (level[:, None] + curve[:, 0])[:, None, :, None]

    def _mask(self, images: Tensor) -> Tensor:
        if not self.masks:
            return images
        fill = images.mean(dim=(2, 3), keepdim=True)
        for axis in (2, 3):
            size = images.shape[axis]
            width = torch.rand(len(images), 1, device=images.device) * self.masks * size
            first = torch.rand(len(images), 1, device=images.device) * (size - width)
            positions = torch.arange(size, device=images.device)
            is_masked = (positions >= first) & (positions < first + width)
            shape = (len(images), 1, size, 1) if axis == 2 else (len(images), 1, 1, size)
            images = torch.where(is_masked.reshape(shape), fill, images)
        return images


def _draw(images: Tensor) -> Tensor:
    """Return one number for each image, uniform in ±1."""
    return 2 * torch.rand(len(images), device=images.device) - 1


def _shift(images: Tensor, shift: Tensor, axis: int, *, wrap: bool) -> Tensor:
    """Shift each image along an axis by its own number; what leaves comes back, or the edge is repeated."""
    size = images.shape[axis]
    source = torch.arange(size, device=images.device) - shift[:, None]
    source = source % size if wrap else source.clamp(0, size - 1)
    shape = [len(images), 1, 1, 1]
    shape[axis] = size
    return images.gather(axis, source.reshape(shape).expand_as(images))
