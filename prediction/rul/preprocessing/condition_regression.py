"""How channels hang on settings that change without steps: what a curve over them explains."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MATTERS: Final = 0.1
"""A channel follows its settings where they explain this share of its variance."""
_FARTHEST: Final = 3.0
"""Standard deviations beyond which a setting counts as so far away: parabolas rise for ever."""
_FEWEST_A_TERM: Final = 20
_RIDGE: Final = 1e-6


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
    def none(cls, settings: int, channels: int) -> ConditionRegression:
        """One that takes nothing out."""
        return cls(np.zeros(settings), np.ones(settings), np.zeros((_count(settings), channels)))

    @classmethod
    def fitted(cls, values: Floats, settings: Floats) -> ConditionRegression:
        """By least squares from rows ``(rows, channels)`` and ``(rows, settings)``."""
        told = settings.shape[1]
        flat = cls.none(told, values.shape[1])
        if not told or len(values) < _FEWEST_A_TERM * _count(told):
            return flat
        spread = settings.std(axis=0)
        scaled = cls(settings.mean(axis=0), np.where(spread > 0, spread, 1.0), flat.weights)
        terms = scaled._terms(settings)
        terms = terms - terms.mean(axis=0)
        known = np.where(np.isfinite(values), values, np.nanmean(values, axis=0))
        off = known - known.mean(axis=0)
        squares = terms.T @ terms
        ridge = _RIDGE * max(float(np.trace(squares)), 1.0) * np.eye(len(squares))
        weights = np.linalg.solve(squares + ridge, terms.T @ off)
        left, whole = ((part**2).sum(axis=0) for part in (off - terms @ weights, off))
        explained = 1.0 - left / np.maximum(whole, 1e-300)
        return cls(scaled.centre, scaled.scale, np.where(explained > _MATTERS, weights, 0.0))

    def of(self, settings: Floats) -> Floats:
        """What the settings explain of each row's channels."""
        found: Floats = self._terms(settings) @ self.weights
        return found

    def only(self, channels: NDArray[np.bool_]) -> ConditionRegression:
        """The same for some of the channels."""
        return ConditionRegression(self.centre, self.scale, self.weights[:, channels])

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name).tolist() for name in ("centre", "scale", "weights")}

    @classmethod
    def from_dict(cls, told: dict[str, Any], channels: int) -> ConditionRegression:
        """From JSON; without settings its arrays are empty, so their widths are told."""
        centre, scale = (np.array(told[name], dtype=np.float64) for name in ("centre", "scale"))
        return cls(centre, scale, np.array(told["weights"], dtype=np.float64).reshape(-1, channels))

    def _terms(self, settings: Floats) -> Floats:
        """Settings, their squares and their products, shape (rows, terms)."""
        scaled = np.clip((settings - self.centre) / self.scale, -_FARTHEST, _FARTHEST)
        pairs = combinations_with_replacement(range(scaled.shape[1]), 2)
        return np.column_stack([scaled, *(scaled[:, a] * scaled[:, b] for a, b in pairs)])


def _count(settings: int) -> int:
    return settings + settings * (settings + 1) // 2
