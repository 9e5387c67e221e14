"""A detector: parts, how their statistics compare, and the limit. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.equipment.model.limits import AlarmLimit, AlarmLimitRecord
from prediction.equipment.model.parts import Part
from prediction.equipment.model.rows import Floats, NormalisedRows

_ARRAYS: Final = ("centre", "precision", "weights")


class PartRecord(TypedDict):
    """A `Part` without its arrays, which are files of their own."""

    name: str
    usual: float
    forms: Sequence[str]
    spans: Sequence[int]


class AssetDetectorRecord(TypedDict):
    """An `AssetDetector` as ``equipment.json`` holds it."""

    algorithm: str
    parts: list[PartRecord]
    centre: list[float]
    scale: list[float]
    limit: AlarmLimitRecord


@dataclass(frozen=True)
class RowScores:
    """The judgement on rows.

    Parameters
    ----------
    score : shape (n,)
        0 is usual, above 1 is an alarm.
    leading : int64, shape (n,)
        Number of the statistic that is farthest beyond its usual range.
    """

    score: Floats
    leading: NDArray[np.int64]

    @property
    def alarms(self) -> NDArray[np.bool_]:
        """Return which rows are alarms."""
        is_alarm: NDArray[np.bool_] = self.score > 1.0
        return is_alarm

    @property
    def health(self) -> Floats:
        """Return 1 where the score is usual or better, 0.5 at the limit, and 0 from twice the limit on."""
        index: Floats = np.clip(1.0 - self.score / 2.0, 0.0, 1.0)
        return index


@dataclass(frozen=True)
class AssetDetector:
    """Scores rows.

    Parameters
    ----------
    algorithm : str
    parts : sequence of Part
    centre, scale : shape (statistics,)
        Median of each statistic in held-out normal time, and from there to its 99th percentile.
    limit : AlarmLimit
        Of the largest scaled statistic.
    """

    algorithm: str
    parts: Sequence[Part]
    centre: Floats
    scale: Floats
    limit: AlarmLimit

    def combine(self, statistics: Floats) -> Floats:
        """Return the scaled statistics, shape as given."""
        scaled: Floats = (statistics - self.centre) / self.scale
        return scaled

    def score(self, rows: NormalisedRows) -> RowScores:
        """Return the judgement on each row."""
        scaled = self.combine(compute_statistics(self.parts, rows))
        usual, limit = self.limit.usual, self.limit.value
        return RowScores((scaled.max(axis=1) - usual) / (limit - usual), scaled.argmax(axis=1))

    def explain(self, rows: NormalisedRows, leading: NDArray[np.int64]) -> Floats:
        """Return the share of each channel in the leading statistic of each row, shape (n, channels)."""
        shares = np.zeros_like(rows.values)
        number = 0
        for part in self.parts:
            for span, form in part.statistics:
                selected = leading == number
                if selected.any():
                    contributions = part.contributions(rows, span, form)[selected]
                    total = np.maximum(contributions.sum(axis=1, keepdims=True), 1e-300)
                    shares[selected] = contributions / total
                number += 1
        return shares

    def to_dict(self) -> AssetDetectorRecord:
        """Return everything but the arrays of the parts."""
        parts: list[PartRecord] = [
            {"name": part.name, "usual": part.usual, "forms": part.forms, "spans": part.spans}
            for part in self.parts
        ]
        return {
            "algorithm": self.algorithm,
            "parts": parts,
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "limit": self.limit.to_dict(),
        }

    def to_arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the arrays of the parts by name."""
        return {
            f"part_{number}_{name}": getattr(part, name)
            for number, part in enumerate(self.parts)
            for name in _ARRAYS
        }

    @classmethod
    def from_dict(cls, content: AssetDetectorRecord, arrays: dict[str, NDArray[np.float64]]) -> AssetDetector:
        """Rebuild what `to_dict` and `to_arrays` made."""
        parts = [
            Part(
                name=part["name"],
                usual=part["usual"],
                forms=tuple(part["forms"]),
                spans=tuple(part["spans"]),
                **{name: arrays[f"part_{number}_{name}"] for name in _ARRAYS},
            )
            for number, part in enumerate(content["parts"])
        ]
        limit = AlarmLimit(**content["limit"])
        return cls(
            content["algorithm"], parts, np.array(content["centre"]), np.array(content["scale"]), limit
        )


def compute_statistics(parts: Sequence[Part], rows: NormalisedRows) -> Floats:
    """Return the statistics of all parts side by side, shape (n, statistics)."""
    return np.hstack([part.compute(rows) for part in parts])
