"""Intervals around an answer, from errors on devices that were not trained on: split-conformal, by level.

Errors are large for healthy devices and small near the end, so their distribution is kept for several levels
of the answer (Mondrian conformal prediction, Vovk et al., 2005). Rows of one device are alike: the level is
raised by the number of devices, not of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GRID: Final = np.linspace(0.0, 1.0, 201)
DEFAULT_COVERAGE: Final = 0.9
_LEVELS: Final = 8
_FEWEST: Final = 60


@dataclass(frozen=True)
class Residuals:
    """Quantiles of truth minus answer, in hours, by level of the answer.

    Parameters
    ----------
    levels : shape (levels,)
        Middles of the levels, ascending.
    table : shape (levels, 201)
        Quantiles 0 to 1 in steps of half a per cent.
    devices : int
        How many devices they were learnt from.
    """

    levels: Floats
    table: Floats
    devices: int

    @classmethod
    def of(cls, answers: Floats, truth: NDArray[Any], devices: NDArray[np.int64]) -> Residuals:
        """Learn from answers and truths of rows of held-out devices."""
        count = max(1, min(_LEVELS, len(answers) // _FEWEST))
        order = np.argsort(answers, kind="stable")
        groups = np.array_split(order, count)
        off = np.asarray(truth, dtype=np.float64) - answers
        levels = np.array([answers[group].mean() for group in groups])
        table = np.array([np.quantile(off[group], GRID) for group in groups])
        return cls(levels, table, len(np.unique(devices)))

    def quantiles(self, answers: Floats, level: float) -> Floats:
        """Truths that are exceeded with probability ``1 - level``, for each answer."""
        column = np.array([np.interp(level, GRID, row) for row in self.table])
        found: Floats = answers + np.interp(answers, self.levels, column)
        return found

    def interval(self, answers: Floats, coverage: float, horizon_hours: float) -> tuple[Floats, Floats]:
        """Bounds that hold the truth (capped at the horizon) with the promised probability."""
        wanted = min(1.0, coverage * (1.0 + 1.0 / max(self.devices, 1)))
        low = self.quantiles(answers, (1 - wanted) / 2)
        high = self.quantiles(answers, (1 + wanted) / 2)
        return np.clip(low, 0.0, horizon_hours), np.clip(high, 0.0, horizon_hours)

    def alarm(self, answer: float, late: float, early: float) -> float:
        """Hours from now at which to stop, so that the expected cost is least.

        With a cost for each hour too late and one for each hour too early, the best moment is the quantile
        ``early / (early + late)`` of the remaining life (the newsvendor's answer).
        """
        return max(0.0, float(self.quantiles(np.array([answer]), early / (early + late))[0]))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"levels": self.levels.tolist(), "table": self.table.tolist(), "devices": self.devices}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Residuals:
        """From JSON."""
        return cls(np.array(told["levels"]), np.array(told["table"]), told["devices"])
