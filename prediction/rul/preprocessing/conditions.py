"""Operating conditions: found by clustering the settings, and each with a normalisation of its own.

A sensor that reads 20 at sea level and 40 at altitude says nothing of wear until the altitude is taken out.
Where settings change without steps there are no conditions, and a curve over them is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from prediction.rul.preprocessing.condition_regression import ConditionRegression

Floats = NDArray[np.float64]

MOST_CONDITIONS: Final = 12
_SEPARATE: Final = 0.2
"""Clusters count as conditions where their rows lie this much closer to their own centre than to others."""
_SAMPLE: Final = 5_000
_SMALLEST_SHARE: Final = 0.01
_OUTLIERS: Final = 4
_FEWEST: Final = 50
_CONSTANT: Final = 1e-6
_FARTHEST: Final = 1e9
"""z-scores beyond which one value is as far as another."""
_NOT_SEEN: Final = 1e300
"""The scale of a setting that takes no part."""
_MATTERS: Final = 0.1
"""Conditions count where they explain this share of a channel's variance: a setting's rounding does not."""


@dataclass(frozen=True)
class OperatingConditions:
    """Where the operating conditions lie and how channels are normalised in each.

    Parameters
    ----------
    centres : shape (conditions, settings)
        In units of ``scale``.
    scale : shape (settings,)
        Spread of each setting in training.
    mean, std : shape (conditions, channels)
        Of the channels in each condition.
    trends : sequence of Trend
        What settings that still differ within each condition explain; it is taken out first.
    """

    centres: Floats
    scale: Floats
    mean: Floats
    std: Floats
    trends: Sequence[ConditionRegression]

    @classmethod
    def fitted(cls, values: Floats, settings: Floats) -> OperatingConditions:
        """Learn from training rows ``(rows, channels)`` and their ``(rows, settings)``."""
        centres, scale = _best(settings, values)
        place = _nearest(settings, centres, scale)
        fits = [_fitted(values, settings, place == number) for number in range(len(centres))]
        mean, std = (np.array([fit[part] for fit in fits]) for part in (0, 1))
        return cls(centres, scale, mean, std, [fit[2] for fit in fits])

    def of(self, settings: Floats) -> NDArray[np.int64]:
        """The condition of each row: the nearest centre."""
        return _nearest(settings, self.centres, self.scale)

    def varying(self) -> NDArray[np.bool_]:
        """Which channels change within some condition; the others say nothing."""
        found: NDArray[np.bool_] = np.any(self._spread(), axis=0)
        return found

    def _spread(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.std > _CONSTANT * np.maximum(1.0, np.abs(self.mean))
        return found

    def only(self, channels: NDArray[np.bool_]) -> OperatingConditions:
        """The same for some of the channels."""
        trends = [trend.only(channels) for trend in self.trends]
        return OperatingConditions(
            self.centres, self.scale, self.mean[:, channels], self.std[:, channels], trends
        )

    def normalised(self, values: Floats, settings: Floats) -> NDArray[np.float32]:
        """z-scores within each row's condition; a missing value is an average one."""
        place = self.of(settings)
        std = np.where(self._spread(), self.std, 1.0)
        explained = np.zeros_like(values)
        for number, trend in enumerate(self.trends):
            mine = place == number
            explained[mine] = trend.of(settings[mine])
        z = (values - explained - self.mean[place]) / std[place]
        known = np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0)
        return np.clip(known, -_FARTHEST, _FARTHEST).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        told = {name: getattr(self, name).tolist() for name in _ARRAYS}
        return {**told, "trends": [trend.to_dict() for trend in self.trends]}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> OperatingConditions:
        """From JSON."""
        centres, scale, mean, std = (np.array(told[name], dtype=np.float64) for name in _ARRAYS)
        flat = ConditionRegression.none(len(scale), mean.shape[1]).to_dict()
        trends = told.get("trends") or [flat] * len(centres)  # versions made before there were trends
        return cls(
            centres,
            scale,
            mean,
            std,
            [ConditionRegression.from_dict(trend, mean.shape[1]) for trend in trends],
        )


_ARRAYS: Final = ("centres", "scale", "mean", "std")


def _nearest(settings: Floats, centres: Floats, scale: Floats) -> NDArray[np.int64]:
    """The nearest centre of each row."""
    if len(centres) == 1:
        return np.zeros(len(settings), dtype=np.int64)
    found: NDArray[np.int64] = ((settings[:, None, :] / scale - centres) ** 2).sum(axis=2).argmin(axis=1)
    return found


def _fitted(
    values: Floats, settings: Floats, mine: NDArray[np.bool_]
) -> tuple[Floats, Floats, ConditionRegression]:
    """Mean, deviation and trend of the channels in one condition; of all rows where it has too few."""
    if mine.sum() < min(_FEWEST, len(values)):
        flat = ConditionRegression.none(settings.shape[1], values.shape[1])
        return np.nanmean(values, axis=0), np.nanstd(values, axis=0), flat
    trend = ConditionRegression.fitted(values[mine], settings[mine])
    left = values[mine] - trend.of(settings[mine])
    return np.nanmean(left, axis=0), np.nanstd(left, axis=0), trend


def _best(settings: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return centres and scales of the conditions.

    They come from all settings together, or only from those that have conditions of their own, where that
    finds more: the others blur them.
    """
    spread = settings.std(axis=0)
    every = np.where(spread > 0, spread, 1.0)
    columns = [settings[:, [place]] / every[place] for place in range(settings.shape[1])]
    tells = np.array([len(_telling(column, values)) > 1 for column in columns], dtype=bool)
    some = np.where(tells, every, _NOT_SEEN)
    found = [(_telling(settings / scale, values), scale) for scale in (some, every)]
    return max(found, key=lambda one: len(one[0]))


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


def clustered(points: Floats) -> tuple[NDArray[np.int64], float]:
    """The cluster of each point, all 0 where none are well separated, and how loose the loosest is."""
    centres = _centres(points)
    place = ((points[:, None, :] - centres) ** 2).sum(axis=2).argmin(axis=1)
    return place, _looseness(points, centres) if len(centres) > 1 else 0.0


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
    """The largest mean distance of a cluster's points to its centre, over the distance to another centre.

    It is measured along the line to that centre, so that noise of other settings does not count: 0.25 for any
    cut through evenly spread points.
    """
    place = ((points[:, None, :] - centres) ** 2).sum(axis=2).argmin(axis=1)
    found = []
    for number, centre in enumerate(centres):
        ways = np.delete(centres, number, axis=0) - centre
        along = np.abs((points[place == number] - centre) @ ways.T).mean(axis=0)
        found.append((along / (ways**2).sum(axis=1)).max())
    return float(max(found))
