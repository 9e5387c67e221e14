"""The limit of the score that keeps a budget of false alarms, counted in episodes, for finite samples.

Two alarms within twelve rows belong to one episode, so a block of twelve rows starts one at most. The largest scores
of held-out blocks and of the next block are taken as exchangeable: the k-th smallest of n is then exceeded with
probability (n + 1 - k) / (n + 1) at most (Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.conformal import conformal_rank
from prediction.equipment.model.rows import Floats

EPISODE_ROWS: Final = 12
WEEK_SECONDS: Final = 604_800.0
# The tail of the block maxima from which a rarer limit is extrapolated, and how many blocks it needs.
_TAIL_SHARE: Final = 0.2
_MIN_TAIL_BLOCKS: Final = 10
# Below this budget of blocks the limit widens by up to this share of its distance from the usual score.
_MAX_WIDENING: Final = 0.25


class AlarmLimitRecord(TypedDict):
    """The fields of an `AlarmLimit` as ``equipment.json`` and ``model_info.json`` hold them."""

    value: float
    usual: float
    rate: float
    blocks: int
    needed: int
    guaranteed: bool
    note: str


@dataclass(frozen=True)
class AlarmLimit:
    """A limit of the combined score and what it promises.

    Parameters
    ----------
    value : float
        A combined score above it is an alarm.
    usual : float
        The median of the combined score in normal time.
    rate : float
        Share of blocks that may have an alarm by the budget.
    blocks, needed : int
        Held-out blocks behind it, and those that a guarantee of this rate takes.
    guaranteed : bool
    note : str
        Why there is no guarantee; empty where there is one.
    """

    value: float
    usual: float
    rate: float
    blocks: int
    needed: int
    guaranteed: bool
    note: str = ""

    def to_dict(self) -> AlarmLimitRecord:
        """Return the limit as it is stored."""
        return {
            "value": self.value,
            "usual": self.usual,
            "rate": self.rate,
            "blocks": self.blocks,
            "needed": self.needed,
            "guaranteed": self.guaranteed,
            "note": self.note,
        }


def fit_limit(scores: Floats, alarms_per_week: float, interval_seconds: float) -> AlarmLimit:
    """Return the lowest limit that keeps the budget on held-out scores in order of time.

    Where they are too few, the limit is extrapolated from the tail of the block maxima, taken as exponential
    (Pickands 1975), is never below the highest score seen, and widens the more blocks are missing.
    """
    usual = float(np.median(scores))
    maxima = np.sort(take_block_maxima(scores))
    count = len(maxima)
    rate = min(0.5, alarms_per_week * EPISODE_ROWS * interval_seconds / WEEK_SECONDS)
    needed = max(1, math.ceil(1.0 / rate) - 1)
    rank = conformal_rank(count, 1.0 - rate)
    if 1 <= rank <= count:
        return AlarmLimit(max(float(maxima[rank - 1]), usual + 1e-9), usual, rate, count, needed, True)
    value = max(float(maxima[-1]), _extrapolate(maxima, rate))
    value += _MAX_WIDENING * (1.0 - count / needed) * (value - usual)
    days = needed * EPISODE_ROWS * interval_seconds / 86_400
    note = (
        f"The budget is extrapolated: {days:,.1f} days of normal running time are needed to guarantee it, "
        f"and {count * EPISODE_ROWS * interval_seconds / 86_400:,.1f} were held out"
    )
    return AlarmLimit(max(value, usual + 1e-9), usual, rate, count, needed, False, note)


def take_block_maxima(scores: Floats) -> Floats:
    """Return the largest score of each block of twelve rows, the oldest incomplete block left out."""
    count = len(scores) // EPISODE_ROWS
    if not count:
        return np.array([scores.max()])
    used = scores[len(scores) - count * EPISODE_ROWS :]
    maxima: Floats = used.reshape(count, EPISODE_ROWS).max(axis=1)
    return maxima


def number_episodes(alarms: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of the episode of each row of running time, from 1; 0 where there is no alarm.

    An alarm within twelve rows of the last one belongs to its episode, so that a fault that lasts over nights when the
    asset is off stays one.
    """
    numbers = np.zeros(len(alarms), dtype=np.int64)
    rows = np.flatnonzero(alarms)
    if len(rows):
        numbers[rows] = np.cumsum(np.append(True, np.diff(rows) > EPISODE_ROWS))
    return numbers


def _extrapolate(maxima: Floats, rate: float) -> float:
    """Return the score that block maxima (ascending) exceed at this rate, by an exponential tail."""
    if len(maxima) < _MIN_TAIL_BLOCKS:
        return float(maxima[-1])
    start = float(np.quantile(maxima, 1.0 - _TAIL_SHARE))
    excess = maxima[maxima > start] - start
    return start + float(excess.mean()) * math.log(_TAIL_SHARE / rate) if len(excess) else start
