"""Spectrograms that came as such, cut into windows of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from prediction.damage.spectrograms.spectrogram import Floats, on_own_level

LEVELS: Final = ("decibel", "log", "power")
_FLOOR: Final = 1e-10


@dataclass(frozen=True)
class PrecomputedSpectrograms:
    """How rows of a given spectrogram become an image; the counterpart of ``Spectrograms``.

    Parameters
    ----------
    window_size : int
        Rows of one window: the width of the image.
    images : int
        Into how many images the columns fall, one a channel.
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

    def to_dict(self) -> dict[str, Any]:
        """The parameters as JSON."""
        return {"given": True, **asdict(self)}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> PrecomputedSpectrograms:
        """The parameters from JSON."""
        return cls(**{name: value for name, value in said.items() if name != "given"})

    def level_images(self, columns: int) -> int:
        """How many of the images show levels: all."""
        return self.images

    def modulation_images(self, columns: int) -> int:
        """How many show modulations of samples: none, there are no samples."""
        return 0

    def shape(self, columns: int) -> tuple[int, int, int]:
        """Shape of one image: (images, bands, frames)."""
        return self.images, columns // self.images, self.window_size

    def at_rate(self, rows: Floats, from_hz: float, to_hz: float) -> Floats:
        """Rows as they are: frames are not resampled."""
        return rows

    def of(self, rows: NDArray[np.floating], starts: NDArray[np.int64]) -> Floats:
        """Images of the windows of one spectrogram ``(rows, columns)``, shape (n, images, bands, frames)."""
        values = np.asarray(rows, dtype=np.float32)
        if self.levels == "power":
            values = np.log(np.maximum(values, 0) + np.float32(_FLOOR))
        elif self.levels == "decibel":
            values = values * np.float32(math.log(10) / 10)
        shape = self.shape(values.shape[1])
        turned = values.T.reshape(*shape[:2], -1)
        made = np.empty((len(starts), *shape), dtype=np.float32)
        for place, start in enumerate(starts):
            made[place] = turned[:, :, start : start + self.window_size]
        return made

    def normalised(self, images: Floats, columns: int) -> Floats:
        """Images of one spectrogram on their own level, changed in place."""
        return on_own_level(images, self.normalise)
