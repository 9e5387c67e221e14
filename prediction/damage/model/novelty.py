"""Detect windows that are unlike everything in the training data, from their band levels alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.damage.spectrograms.spectrogram import Floats
from storage.filesystem.checked_write import save_arrays

Numbers = NDArray[np.float64]

_COMPONENTS: Final = 16
_MAX_FEATURES: Final = 1024
# Share of the validation windows that lie below the threshold.
_KNOWN_SHARE: Final = 0.99
_MARGIN: Final = 1.25
_MIN_VARIANCE: Final = 1e-4


def band_levels(images: Floats) -> Numbers:
    """Return mean and deviation over time of each band, shape (n, 2 * images * bands).

    Of many channels, neighbouring bands are averaged, so that there are `_MAX_FEATURES` at most.
    """
    flat = images.reshape(len(images), -1, images.shape[3])
    levels = np.concatenate([flat.mean(axis=2), flat.std(axis=2)], axis=1).astype(np.float64)
    group_size = -(-levels.shape[1] // _MAX_FEATURES)
    groups = np.arange(0, levels.shape[1], group_size)
    averages: Numbers = np.add.reduceat(levels, groups, axis=1) / group_size
    return averages


@dataclass(frozen=True)
class Novelty:
    """Distance to the nearest class, in principal components of the spread within classes and outside them.

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
    def fit(cls, features: Numbers, targets: NDArray[np.int64], validation: Numbers) -> Novelty:
        """Learn the classes' spread from training windows and the threshold from validation windows.

        Validation windows come from recordings, or specimens, that are not in the training part: the threshold
        allows for as much novelty as a new specimen has.
        """
        classes = int(targets.max()) + 1
        means = np.stack([features[targets == label].mean(axis=0) for label in range(classes)])
        within = features - means[targets]
        values, vectors = np.linalg.eigh(within.T @ within / max(1, len(within) - 1))
        count = min(_COMPONENTS, len(values) - 1)
        components = vectors[:, -count:].T
        variances = np.maximum(values[-count:], _MIN_VARIANCE)
        # Features outside the components share one variance: their own would rest on too few windows.
        rest = max(float(values[:-count].mean()), _MIN_VARIANCE)
        unscaled = cls(means, components, variances, rest)
        held_out = unscaled.distances(validation)
        both = np.concatenate([unscaled.distances(features), held_out])
        largest = max(float(np.quantile(held_out, _KNOWN_SHARE)), float(np.quantile(both, _KNOWN_SHARE)))
        return cls(means, components, variances, rest, _MARGIN * largest)

    def refit(self, features: Numbers, targets: NDArray[np.int64]) -> Novelty:
        """Learn the classes' spread again from more windows.

        Distances are shares of the spread within the classes, so the threshold of the held-out windows holds on.
        """
        return replace(Novelty.fit(features, targets, features), threshold=self.threshold)

    def distances(self, features: Numbers) -> Numbers:
        """Return the distance to the nearest class, shape (n,); about 1 for a training window."""
        nearest = np.full(len(features), np.inf)
        outside_count = self.means.shape[1] - len(self.variances)
        for mean in self.means:
            offset = features - mean
            along = offset @ self.components.T
            inside = (along**2 / self.variances).mean(axis=1)
            outside = ((offset**2).sum(axis=1) - (along**2).sum(axis=1)) / outside_count / self.rest
            nearest = np.minimum(nearest, np.sqrt((inside + outside) / 2))
        return nearest

    def score(self, images: Floats) -> Numbers:
        """Return distances as a share of the threshold: above 1 is none of the known classes."""
        return self.distances(band_levels(images)) / self.threshold

    def save(self, path: Path) -> None:
        """Write plain arrays."""
        save_arrays(
            path,
            means=self.means,
            components=self.components,
            variances=self.variances,
            rest=self.rest,
            threshold=self.threshold,
        )

    @classmethod
    def load(cls, path: Path) -> Novelty:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            arrays = (stored["means"], stored["components"], stored["variances"])
            return cls(*arrays, float(stored["rest"]), float(stored["threshold"]))
