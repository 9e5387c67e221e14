"""Operating conditions: found by clustering the settings, and each with a normalisation of its own.

A sensor that reads 20 at sea level and 40 at altitude says nothing of wear until the altitude is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_CONDITIONS: Final = 12
_SEPARATE: Final = 0.2
"""Clusters count as conditions where their rows lie this much closer to their own centre than centres do."""
_SAMPLE: Final = 5_000
_SMALLEST_SHARE: Final = 0.01
_OUTLIERS: Final = 4
_FEWEST: Final = 50
_CONSTANT: Final = 1e-6
_NOT_SEEN: Final = 1e300
"""The scale of a setting that takes no part."""
_MATTERS: Final = 0.1
"""Conditions count where they explain this share of a channel's variance: a setting's rounding does not."""


@dataclass(frozen=True)
class Conditions:
    """Where the operating conditions lie and how channels are normalised in each.

    Parameters
    ----------
    centres : shape (conditions, settings)
        In units of ``scale``.
    scale : shape (settings,)
        Spread of each setting in training.
    mean, std : shape (conditions, channels)
        Of the channels in each condition.
    """

    centres: Floats
    scale: Floats
    mean: Floats
    std: Floats

    @classmethod
    def fitted(cls, values: Floats, settings: Floats) -> Conditions:
        """Learn from training rows ``(rows, channels)`` and their ``(rows, settings)``."""
        scale = _scales(settings, values)
        centres = _telling(settings / scale, values)
        known = cls(centres, scale, np.zeros((len(centres), 1)), np.ones((len(centres), 1)))
        place = known.of(settings)
        groups = [values[place == number] for number in range(len(centres))]
        enough = [group if len(group) >= min(_FEWEST, len(values)) else values for group in groups]
        mean = np.array([np.nanmean(group, axis=0) for group in enough])
        std = np.array([np.nanstd(group, axis=0) for group in enough])
        return cls(centres, scale, mean, std)

    def of(self, settings: Floats) -> NDArray[np.int64]:
        """The condition of each row: the nearest centre."""
        if len(self.centres) == 1:
            return np.zeros(len(settings), dtype=np.int64)
        distances = ((settings[:, None, :] / self.scale - self.centres) ** 2).sum(axis=2)
        found: NDArray[np.int64] = distances.argmin(axis=1)
        return found

    def varying(self) -> NDArray[np.bool_]:
        """Which channels change within some condition; the others say nothing."""
        found: NDArray[np.bool_] = np.any(self._spread(), axis=0)
        return found

    def _spread(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.std > _CONSTANT * np.maximum(1.0, np.abs(self.mean))
        return found

    def only(self, channels: NDArray[np.bool_]) -> Conditions:
        """The same for some of the channels."""
        return Conditions(self.centres, self.scale, self.mean[:, channels], self.std[:, channels])

    def normalised(self, values: Floats, settings: Floats) -> NDArray[np.float32]:
        """z-scores within each row's condition; a missing value is an average one."""
        place = self.of(settings)
        std = np.where(self._spread(), self.std, 1.0)
        z = (values - self.mean[place]) / std[place]
        return np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name).tolist() for name in ("centres", "scale", "mean", "std")}

    @classmethod
    def of_dict(cls, told: dict[str, Any]) -> Conditions:
        """From JSON."""
        return cls(*(np.array(told[name], dtype=np.float64) for name in ("centres", "scale", "mean", "std")))


def _scales(settings: Floats, values: Floats) -> Floats:
    """The spread of each setting that has conditions of its own; the others must not blur those."""
    spread = settings.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    columns = [settings[:, [place]] / scale[place] for place in range(settings.shape[1])]
    tells = np.array([len(_telling(column, values)) > 1 for column in columns], dtype=bool)
    return np.where(tells, scale, _NOT_SEEN)


def _telling(points: Floats, values: Floats) -> Floats:
    """The centres of conditions, where some channel hangs on them; else one centre."""
    one: Floats = points.mean(axis=0, keepdims=True)
    step = max(1, len(points) // _SAMPLE)
    points, values = points[::step], values[::step]
    centres = _centres(points)
    if len(centres) == 1:
        return one
    place = ((points[:, None, :] - centres) ** 2).sum(axis=2).argmin(axis=1)
    explained = np.zeros(values.shape[1])
    for number in range(len(centres)):
        mine = values[place == number]
        if len(mine):
            explained += len(mine) * np.nan_to_num(np.nanmean(mine, axis=0) - np.nanmean(values, axis=0)) ** 2
    total = len(values) * np.nanvar(values, axis=0)
    noise = len(values) * (_CONSTANT * np.maximum(1.0, np.abs(np.nanmean(values, axis=0)))) ** 2
    told = explained[total > noise] / total[total > noise]
    return centres if len(told) and told.max() > _MATTERS else one


def _centres(points: Floats) -> Floats:
    """The centres of well separated clusters of points; one where there are none.

    Rows of one regime differ by noise only, so true conditions lie far apart in units of their own spread.
    A few points by themselves are outliers, not a condition.
    """
    best: Floats = points.mean(axis=0, keepdims=True)
    for count in range(2, min(MOST_CONDITIONS + _OUTLIERS, len(np.unique(points, axis=0))) + 1):
        centres = _lloyd(points, _seeds(points, count))
        place = ((points[:, None, :] - centres) ** 2).sum(axis=2).argmin(axis=1)
        shares = np.bincount(place, minlength=len(centres)) / len(points)
        centres = centres[shares >= _SMALLEST_SHARE]
        if len(best) < len(centres) <= MOST_CONDITIONS and _looseness(points, centres) < _SEPARATE:
            best = centres
    return best


def _seeds(points: Floats, count: int) -> Floats:
    """Points far from each other: each next one is the farthest from those there are."""
    chosen = [points[0]]
    nearest = ((points - chosen[0]) ** 2).sum(axis=1)
    while len(chosen) < count:
        chosen.append(points[nearest.argmax()])
        nearest = np.minimum(nearest, ((points - chosen[-1]) ** 2).sum(axis=1))
    return np.array(chosen)


def _lloyd(points: Floats, centres: Floats, rounds: int = 20) -> Floats:
    for _ in range(rounds):
        place = ((points[:, None, :] - centres) ** 2).sum(axis=2).argmin(axis=1)
        kept: Sequence[int] = [number for number in range(len(centres)) if (place == number).any()]
        moved = np.array([points[place == number].mean(axis=0) for number in kept])
        if moved.shape == centres.shape and np.allclose(moved, centres):
            break
        centres = moved
    return centres


def _looseness(points: Floats, centres: Floats) -> float:
    """The largest mean distance of a cluster's points to its centre, over the distance to the next centre."""
    gaps = np.sqrt(((centres[:, None, :] - centres) ** 2).sum(axis=2))
    np.fill_diagonal(gaps, np.inf)
    place = ((points[:, None, :] - centres) ** 2).sum(axis=2).argmin(axis=1)
    spreads = [
        np.sqrt(((points[place == number] - centre) ** 2).sum(axis=1)).mean()
        for number, centre in enumerate(centres)
    ]
    return float((np.array(spreads) / gaps.min(axis=1)).max())
