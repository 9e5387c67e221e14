"""Whether a window is unlike everything in the training data, told from its band levels alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.damage.spectrograms.spectrogram import Floats

Numbers = NDArray[np.float64]

_COMPONENTS: Final = 16
_MOST_FEATURES: Final = 1024
_KNOWN_SHARE: Final = 0.99
"""Share of the validation windows that lie below the threshold."""
_MARGIN: Final = 1.25
_LEAST_VARIANCE: Final = 1e-4


def band_levels(images: Floats) -> Numbers:
    """Mean and spread over time of each band, shape (n, 2 * images * bands).

    Of many channels, neighbouring bands are taken together, so that there are `_MOST_FEATURES` at most.
    """
    flat = images.reshape(len(images), -1, images.shape[3])
    levels = np.concatenate([flat.mean(axis=2), flat.std(axis=2)], axis=1).astype(np.float64)
    together = -(-levels.shape[1] // _MOST_FEATURES)
    first = np.arange(0, levels.shape[1], together)
    found: Numbers = np.add.reduceat(levels, first, axis=1) / together
    return found


@dataclass(frozen=True)
class Novelty:
    """Distance to the nearest class, in its usual spread: principal components and what they leave over.

    Parameters
    ----------
    means : ndarray, shape (classes, features)
    components, variances : ndarray, shapes (components, features), (components,)
        Of the spread within the classes.
    rest : float
        Mean variance of a feature outside the components.
    threshold : float
        Distance beyond which a window is unlike the training data.
    """

    means: Numbers
    components: Numbers
    variances: Numbers
    rest: float
    threshold: float = np.inf

    @classmethod
    def fitted(cls, features: Numbers, targets: NDArray[np.int64], validation: Numbers) -> Novelty:
        """Learn the classes' spread from training windows and the threshold from validation windows.

        Validation windows come from recordings, or specimens, that training has not seen: the threshold
        allows for as much strangeness as a new specimen has.
        """
        classes = int(targets.max()) + 1
        means = np.stack([features[targets == label].mean(axis=0) for label in range(classes)])
        within = features - means[targets]
        values, vectors = np.linalg.eigh(within.T @ within / max(1, len(within) - 1))
        count = min(_COMPONENTS, len(values) - 1)
        kept = np.maximum(values[-count:], _LEAST_VARIANCE)
        rest = max(float(values[:-count].mean()), _LEAST_VARIANCE)
        made = cls(means, vectors[:, -count:].T, kept, rest)
        known = np.concatenate([made.distances(features), made.distances(validation)])
        held_out = float(np.quantile(made.distances(validation), _KNOWN_SHARE))
        threshold = _MARGIN * max(held_out, float(np.quantile(known, _KNOWN_SHARE)))
        return cls(means, made.components, kept, rest, threshold)

    def distances(self, features: Numbers) -> Numbers:
        """Distance to the nearest class, shape (n,); about 1 for a training window."""
        nearest = np.full(len(features), np.inf)
        left = self.means.shape[1] - len(self.variances)
        for mean in self.means:
            away = features - mean
            along = away @ self.components.T
            inside = (along**2 / self.variances).mean(axis=1)
            outside = (away**2).sum(axis=1) - (along**2).sum(axis=1)
            nearest = np.minimum(nearest, np.sqrt((inside + outside / left / self.rest) / 2))
        return nearest

    def of(self, images: Floats) -> Numbers:
        """Distances as a share of the threshold: above 1 is none of the known classes."""
        return self.distances(band_levels(images)) / self.threshold

    def write(self, path: Path) -> None:
        """Keep it as plain arrays."""
        np.savez(
            path,
            means=self.means,
            components=self.components,
            variances=self.variances,
            rest=self.rest,
            threshold=self.threshold,
        )

    @classmethod
    def read(cls, path: Path) -> Novelty:
        """What was kept."""
        with np.load(path, allow_pickle=False) as kept:
            arrays = (kept["means"], kept["components"], kept["variances"])
            return cls(*arrays, float(kept["rest"]), float(kept["threshold"]))
