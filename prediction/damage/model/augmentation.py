"""Changes to training images that leave the class as it is: what another day, mount or specimen might do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a batch of log-power images ``(batch, images, bands, frames)``, each by its own draw.

    Parameters
    ----------
    time_shift : float
        Largest shift along time, as a share of the frames; what leaves on one side comes back on the other.
    noise : float
        How loud added white noise may be, as a share of the image's mean power.
    masks : float
        Largest share of the bands, and of the frames, that one mask covers (SpecAugment, Park et al.,
        Interspeech 2019): one mask each.
    gain : float
        Largest change of the level, in the images' unit (natural logarithm of power).
    tilt : float
        Largest change of the level by band, drawn at four places and linear between: another specimen's
        transfer path (FilterAugment, Nam et al., ICASSP 2022).
    stretch : int
        Largest shift along the bands: on a log-frequency scale, another speed.
    levels : int, optional
        How many of the images show levels, the first ones: noise, gain and tilt change these only.
    hide : float
        Share of the examples whose levels are hidden, so that what else tells the classes apart is learnt,
        too: levels tell known specimens so well that nothing else would be looked at.
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
        """A changed copy."""
        count, _, bands, frames = images.shape
        shift = (self._draw(count, images) * self.time_shift * frames).round().long()
        images = _rolled(images, shift)
        if self.stretch:
            lift = (self._draw(count, images) * self.stretch).round().long()
            images = _slid(images, lift)
        levels = images[:, : self.levels]
        if self.noise:
            levels = self._noisy(levels)
        if self.gain or self.tilt:
            levels = levels + self._curve(count, bands, images)
        if self.hide:
            levels = self._hidden(levels)
        return self._masked(torch.cat([levels, images[:, levels.shape[1] :]], dim=1))

    def _draw(self, count: int, like: Tensor) -> Tensor:
        """Uniform in ±1."""
        return 2 * torch.rand(count, device=like.device) - 1

    def _noisy(self, images: Tensor) -> Tensor:
        share = self.noise * torch.rand(len(images), 1, 1, 1, device=images.device) ** 2
        power = images.exp()
        level = power.mean(dim=(2, 3), keepdim=True)
        return torch.log(power + level * share * -torch.log(torch.rand_like(power) + 1e-6))

    def _hidden(self, levels: Tensor) -> Tensor:
        """The batch's mean level instead of some of the examples."""
        hidden = torch.rand(len(levels), 1, 1, 1, device=levels.device) < self.hide
        return torch.where(hidden, levels.mean(dim=(0, 2, 3), keepdim=True), levels)

    def _curve(self, count: int, bands: int, images: Tensor) -> Tensor:
        level = self.gain * self._draw(count, images)
        places = self.tilt * (2 * torch.rand(count, 1, 4, device=images.device) - 1)
        curve = interpolate(places, bands, mode="linear", align_corners=True)
        return (level[:, None] + curve[:, 0])[:, None, :, None]

    def _masked(self, images: Tensor) -> Tensor:
        if not self.masks:
            return images
        fill = images.mean(dim=(2, 3), keepdim=True)
        for axis in (2, 3):
            size = images.shape[axis]
            width = torch.rand(len(images), 1, device=images.device) * self.masks * size
            first = torch.rand(len(images), 1, device=images.device) * (size - width)
            places = torch.arange(size, device=images.device)
            hidden = (places >= first) & (places < first + width)
            shape = (len(images), 1, size, 1) if axis == 2 else (len(images), 1, 1, size)
            images = torch.where(hidden.reshape(shape), fill, images)
        return images


def _rolled(images: Tensor, shift: Tensor) -> Tensor:
    """Each image rolled along time by its own number of frames."""
    frames = images.shape[3]
    places = (torch.arange(frames, device=images.device) - shift[:, None]) % frames
    return images.gather(3, places[:, None, None, :].expand_as(images))


def _slid(images: Tensor, lift: Tensor) -> Tensor:
    """Each image shifted along the bands by its own number; the edge is repeated."""
    bands = images.shape[2]
    places = (torch.arange(bands, device=images.device) - lift[:, None]).clamp(0, bands - 1)
    return images.gather(2, places[:, None, :, None].expand_as(images))
