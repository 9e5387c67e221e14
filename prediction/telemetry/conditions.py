"""Operating conditions: clusters of the settings, each with its own normalisation of the channels.

A sensor that reads 20 at sea level and 40 at altitude shows no wear until the altitude is taken out. Settings
that change without steps have no conditions; a regression over them is taken out instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.telemetry.clustering import assign_clusters, find_clusters
from prediction.telemetry.condition_regression import ConditionRegression, RegressionRecord

Floats = NDArray[np.float64]

_MAX_SAMPLE: Final = 5_000
_MIN_ROWS: Final = 50
_CONSTANT: Final = 1e-6
# Beyond this z-score one value is as far as another; it keeps float32 sums finite.
_MAX_Z: Final = 1e9
# The scale of a setting that takes no part in the clustering.
_IGNORED_SCALE: Final = 1e300
# Conditions count if they explain this share of a channel's variance: a setting's rounding does not.
_MIN_EXPLAINED: Final = 0.1


class ConditionsRecord(TypedDict):
    """Operating conditions as a version stores them; versions of early releases have no ``trends``."""

    centres: list[list[float]]
    scale: list[float]
    mean: list[list[float]]
    std: list[list[float]]
    trends: NotRequired[list[RegressionRecord]]


@dataclass(frozen=True)
class OperatingConditions:
    """The operating conditions and the normalisation of channels in each.

    Parameters
    ----------
    centres : shape (conditions, settings)
        In units of ``scale``.
    scale : shape (settings,)
        Spread of each setting in training.
    mean, std : shape (conditions, channels)
        Of the channels in each condition.
    regressions : sequence of ConditionRegression
        The influence of settings that still differ within each condition; it is taken out first.
    """

    centres: Floats
    scale: Floats
    mean: Floats
    std: Floats
    regressions: Sequence[ConditionRegression]

    @classmethod
    def fit(cls, values: Floats, settings: Floats) -> OperatingConditions:
        """Fit to training rows ``(rows, channels)`` and their ``(rows, settings)``."""
        centres, scale = _find_conditions(settings, values)
        condition = assign_clusters(settings / scale, centres)
        means, stds, regressions = [], [], []
        for number in range(len(centres)):
            rows = condition == number
            # A condition with too few rows gets the mean and deviation of all of them.
            if rows.sum() < min(_MIN_ROWS, len(values)):
                regression = ConditionRegression.identity(settings.shape[1], values.shape[1])
                residuals = values
            else:
                regression = ConditionRegression.fit(values[rows], settings[rows])
                residuals = values[rows] - regression.predict(settings[rows])
            means.append(np.nanmean(residuals, axis=0))
            stds.append(np.nanstd(residuals, axis=0))
            regressions.append(regression)
        return cls(centres, scale, np.array(means), np.array(stds), regressions)

    def assign(self, settings: Floats) -> NDArray[np.int64]:
        """Return the condition of each row: the nearest centre."""
        return assign_clusters(settings / self.scale, self.centres)

    def varying_channels(self) -> NDArray[np.bool_]:
        """Return which channels change within some condition; the others carry no information."""
        varying: NDArray[np.bool_] = np.any(self._is_varying(), axis=0)
        return varying

    def select(self, channels: NDArray[np.bool_]) -> OperatingConditions:
        """Return the conditions with some of the channels."""
        regressions = [regression.select(channels) for regression in self.regressions]
        mean, std = self.mean[:, channels], self.std[:, channels]
        return OperatingConditions(self.centres, self.scale, mean, std, regressions)

    def normalise(self, values: Floats, settings: Floats) -> NDArray[np.float32]:
        """Return z-scores within each row's condition; a missing value becomes the mean."""
        condition = self.assign(settings)
        std = np.where(self._is_varying(), self.std, 1.0)
        explained = np.zeros_like(values)
        for number, regression in enumerate(self.regressions):
            rows = condition == number
            explained[rows] = regression.predict(settings[rows])
        z = (values - explained - self.mean[condition]) / std[condition]
        finite = np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0)
        return np.clip(finite, -_MAX_Z, _MAX_Z).astype(np.float32)

    def to_dict(self) -> ConditionsRecord:
        """Return what `from_dict` reads."""
        return {
            "centres": self.centres.tolist(),
            "scale": self.scale.tolist(),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "trends": [regression.to_dict() for regression in self.regressions],
        }

    @classmethod
    def from_dict(cls, content: ConditionsRecord) -> OperatingConditions:
        """Rebuild what `to_dict` returned."""
        centres, scale, mean, std = (
            np.array(values, dtype=np.float64)
            for values in (content["centres"], content["scale"], content["mean"], content["std"])
        )
        identity = ConditionRegression.identity(len(scale), mean.shape[1]).to_dict()
        regressions = [
            ConditionRegression.from_dict(regression, mean.shape[1])
            for regression in content.get("trends") or [identity] * len(centres)
        ]
        return cls(centres, scale, mean, std, regressions)

    def _is_varying(self) -> NDArray[np.bool_]:
        varying: NDArray[np.bool_] = self.std > _CONSTANT * np.maximum(1.0, np.abs(self.mean))
        return varying


def _find_conditions(settings: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return centres and scales.

    Settings without conditions of their own blur those of others. So the clustering is tried with all settings
    and with only those that form clusters by themselves, and the one with more conditions is used.
    """
    spread = settings.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    has_clusters = np.array(
        [len(_relevant_clusters(column[:, None], values)) > 1 for column in (settings / scale).T], dtype=bool
    )
    candidates = [
        (_relevant_clusters(settings / candidate, values), candidate)
        for candidate in (np.where(has_clusters, scale, _IGNORED_SCALE), scale)
    ]
    return max(candidates, key=lambda candidate: len(candidate[0]))


def _relevant_clusters(points: Floats, values: Floats) -> Floats:
    """Return the centres of clusters if some channel depends on them; else one centre."""
    single: Floats = points.mean(axis=0, keepdims=True)
    step = max(1, len(points) // _MAX_SAMPLE)
    points, values = points[::step], values[::step]
    centres = find_clusters(points)
    if len(centres) == 1:
        return single
    cluster = assign_clusters(points, centres)
    explained, overall = np.zeros(values.shape[1]), np.nanmean(values, axis=0)
    for number in np.unique(cluster):
        rows = values[cluster == number]
        explained += len(rows) * np.nan_to_num(np.nanmean(rows, axis=0) - overall) ** 2
    total = len(values) * np.nanvar(values, axis=0)
    noise = len(values) * (_CONSTANT * np.maximum(1.0, np.abs(overall))) ** 2
    shares = explained[total > noise] / total[total > noise]
    return centres if len(shares) and shares.max() > _MIN_EXPLAINED else single
