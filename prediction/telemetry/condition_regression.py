"""Removal of the influence of settings that change without steps, by a quadratic regression."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A channel follows its settings if they explain this share of its variance.
_MIN_EXPLAINED: Final = 0.1
# Settings are clipped at so many standard deviations: a parabola rises without bound outside of its data.
_MAX_DEVIATION: Final = 3.0
_MIN_ROWS_PER_TERM: Final = 20
_RIDGE: Final = 1e-6


class RegressionRecord(TypedDict):
    """A regression as a version stores it: its arrays as nested lists."""

    centre: list[float]
    scale: list[float]
    weights: list[list[float]]


@dataclass(frozen=True)
class ConditionRegression:
    """A quadratic surface over the settings for each channel.

    Parameters
    ----------
    centre, scale : shape (settings,)
        Mean and standard deviation of each setting in training.
    weights : shape (terms, channels)
        Zero for channels that do not follow the settings.
    """

    centre: Floats
    scale: Floats
    weights: Floats

    @classmethod
    def identity(cls, settings: int, channels: int) -> ConditionRegression:
        """Return a regression that explains nothing."""
        return cls(np.zeros(settings), np.ones(settings), np.zeros((_count_terms(settings), channels)))

    @classmethod
    def fit(cls, values: Floats, settings: Floats) -> ConditionRegression:
        """Fit by least squares to rows ``(rows, channels)`` and ``(rows, settings)``."""
        count = settings.shape[1]
        identity = cls.identity(count, values.shape[1])
        if not count or len(values) < _MIN_ROWS_PER_TERM * _count_terms(count):
            return identity
        spread = settings.std(axis=0)
        scaled = cls(settings.mean(axis=0), np.where(spread > 0, spread, 1.0), identity.weights)
        terms = scaled._terms(settings)
        terms = terms - terms.mean(axis=0)
        filled = np.where(np.isfinite(values), values, np.nanmean(values, axis=0))
        deviations = filled - filled.mean(axis=0)
        gram = terms.T @ terms
        ridge = _RIDGE * max(float(np.trace(gram)), 1.0) * np.eye(len(gram))
        weights = np.linalg.solve(gram + ridge, terms.T @ deviations)
        residual, total = ((part**2).sum(axis=0) for part in (deviations - terms @ weights, deviations))
        explained = 1.0 - residual / np.maximum(total, 1e-300)
        return cls(scaled.centre, scaled.scale, np.where(explained > _MIN_EXPLAINED, weights, 0.0))

    def predict(self, settings: Floats) -> Floats:
        """Return the part of each row's channels that the settings explain."""
        prediction: Floats = self._terms(settings) @ self.weights
        return prediction

    def select(self, channels: NDArray[np.bool_]) -> ConditionRegression:
        """Return the regression of some of the channels."""
        return ConditionRegression(self.centre, self.scale, self.weights[:, channels])

    def to_dict(self) -> RegressionRecord:
        """Return what `from_dict` reads."""
        return {
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "weights": self.weights.tolist(),
        }

    @classmethod
    def from_dict(cls, content: RegressionRecord, channels: int) -> ConditionRegression:
        """Rebuild what `to_dict` returned, which does not show the shape of arrays without settings."""
        centre, scale, weights = (
            np.array(values, dtype=np.float64)
            for values in (content["centre"], content["scale"], content["weights"])
        )
        return cls(centre, scale, weights.reshape(-1, channels))

    def _terms(self, settings: Floats) -> Floats:
        """Return settings, their squares and their products, shape (rows, terms)."""
        scaled = np.clip((settings - self.centre) / self.scale, -_MAX_DEVIATION, _MAX_DEVIATION)
        pairs = combinations_with_replacement(range(scaled.shape[1]), 2)
        return np.column_stack([scaled, *(scaled[:, a] * scaled[:, b] for a, b in pairs)])


def _count_terms(settings: int) -> int:
    return settings + settings * (settings + 1) // 2
