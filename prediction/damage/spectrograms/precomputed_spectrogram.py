"""Spectrograms that the sender computed, cut into windows of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from prediction.damage.spectrograms.spectrogram import Floats, subtract_mean

LEVELS: Final = ("decibel", "log", "power")
_FLOOR: Final = 1e-10


@dataclass(frozen=True)
class PrecomputedSpectrograms:
    """How rows of a spectrogram become an image; the counterpart of ``Spectrograms``.

    Parameters
    ----------
    window_size : int
        Rows of one window: the width of the image.
    images : int
        How many images the columns hold, one a channel.
    levels : str
        What the values are: ``"decibel"``, ``"log"`` (natural logarithm of power) or ``"power"``. Images hold
        the natural logarithm of power, as those made from waveforms do.
    normalise : str
        As of ``Spectrograms``.
    """

    window_size: int
    images: int = 1
    levels: str = "decibel"
    normalise: str = "none"
    hop: ClassVar[int] = 1

    def to_dict(self) -> dict[str, object]:
        """Return the parameters as JSON; ``given`` tells them from those of ``Spectrograms``."""
        return {"given": True, **asdict(self)}

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> PrecomputedSpectrograms:
        """Return the transform with these parameters."""
        return cls(**{name: value for name, value in parameters.items() if name != "given"})

    def level_images(self, columns: int) -> int:
        """Count the images that show levels: all."""
        return self.images

    def modulation_images(self, columns: int) -> int:
        """Count the images that show modulations: none without samples."""
        return 0

    def shape(self, columns: int) -> tuple[int, int, int]:
        """Return the shape of one window: (images, bands, frames)."""
        return self.images, columns // self.images, self.window_size

    def resample(self, rows: Floats, from_hz: float, to_hz: float) -> Floats:
        """Return the rows unchanged: frames are not resampled."""
        return rows

    def compute(self, rows: NDArray[np.floating], starts: NDArray[np.int64]) -> Floats:
        """Return images of the windows of one spectrogram ``(rows, columns)``.

        Returns
        -------
        ndarray of float32, shape (n, images, bands, frames)
        """
        values = np.asarray(rows, dtype=np.float32)
        if self.levels == "power":
            values = np.log(np.maximum(values, 0) + np.float32(_FLOOR))
        elif self.levels == "decibel":
            values = values * np.float32(math.log(10) / 10)
        shape = self.shape(values.shape[1])
        spectrogram = values.T.reshape(*shape[:2], -1)
        images = np.empty((len(starts), *shape), dtype=np.float32)
        for window, start in enumerate(starts):
            images[window] = spectrogram[:, :, start : start + self.window_size]
        return images

    def normalise_images(self, images: Floats, columns: int) -> Floats:
        """Normalise images of one spectrogram in place and return them."""
        subtract_mean(images, self.normalise)
        return images
