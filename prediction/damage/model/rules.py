"""Simple rules: what a network must beat, and what answers instead of a network that errs more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.damage.spectrograms.spectrogram import Floats
from storage.filesystem.checked_write import save_arrays

Numbers = NDArray[np.float64]

NETWORK: Final = "network"
MAJORITY, BAND_ENERGIES = "majority", "band_energies"


@dataclass(frozen=True)
class LinearRule:
    """Logits that are linear in the mean level of each band; it needs no scikit-learn to answer.

    Parameters
    ----------
    weights, bias : ndarray, shapes (classes, levels * bands), (classes,)
    levels : int
        How many of the images show levels, the first ones.
    """

    weights: Numbers
    bias: Numbers
    levels: int

    def __call__(self, images: Floats) -> NDArray[np.float32]:
        """Return logits ``(n, classes)``."""
        logits = band_energies(images[:, : self.levels]) @ self.weights.T + self.bias
        return logits.astype(np.float32)

    def save(self, path: Path) -> None:
        """Write plain arrays."""
        save_arrays(path, weights=self.weights, bias=self.bias, levels=self.levels)

    @classmethod
    def load(cls, path: Path) -> LinearRule:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(stored["weights"], stored["bias"], int(stored["levels"]))


def band_energies(images: Floats) -> Numbers:
    """Return the mean level of each band over time, shape (n, images * bands)."""
    levels: Numbers = images.mean(axis=3, dtype=np.float64).reshape(len(images), -1)
    return levels
