"""A false-alarm budget turned into a threshold with a guarantee that holds for finite samples.

Held-out later readings and the next reading are taken as exchangeable; then the k-th smallest of n held-out
scores is exceeded with probability (n + 1 - k) / (n + 1) at most (split conformal prediction: Papadopoulos et
al., ECML 2002; Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.sensors.readings.series import WEEK

Array = NDArray[Any]
CERTAIN_SCORE = 2.0
"""The score of a reading that a hard rule calls an anomaly: above every score of a forest."""
_TAIL = 0.1
"""Share of the held-out scores that counts as their tail."""
_FEWEST = 20


@dataclass(frozen=True)
class ConformalThreshold:
    """Where an ordinary score ends.

    Parameters
    ----------
    value : float
        A score above this is an anomaly.
    rate : float
        Share of ordinary readings that was asked for, at most.
    bound : float
        Share of ordinary readings that the held-out readings can guarantee.
    guaranteed : bool
        Whether the bound keeps the rate.
    held_out : int
        Number of held-out readings behind it.
    needed : int
        Number of held-out readings a guarantee of this rate takes.
    note : str
        Why there is no guarantee; empty where there is one.
    """

    value: float
    rate: float
    bound: float
    guaranteed: bool
    held_out: int
    needed: int
    note: str = ""


def budget_to_rate(alarms_per_week: float, interval_s: float) -> float:
    """The share of readings that may alarm: a budget of alarms a week over the readings of a week."""
    return float(min(0.5, alarms_per_week * interval_s / WEEK))


def fit_threshold(
    scores: Array, rate: float, floor: float = 0.0, wanders: bool = False
) -> ConformalThreshold:
    """The lowest threshold that keeps the rate.

    Where the held-out readings are too few for that, or wander, it is the highest score seen or, beyond it,
    what their tail says of so rare a reading: the tail is taken as exponential (peaks over threshold:
    Pickands 1975; Siffer et al., "SPOT", KDD 2017), and nothing is guaranteed.

    Parameters
    ----------
    scores : float, shape (n,)
        Scores of held-out readings, ``ALWAYS`` where a hard rule alarms.
    rate : float
        Share of ordinary readings that may be exceeded.
    floor : float
        The largest score of the rows the forest has seen: used where held-out readings are too few.
    wanders : bool
        The readings are known not to be exchangeable.
    """
    n = len(scores)
    needed = max(1, math.ceil(1.0 / rate) - 1)
    rank = math.ceil((n + 1) * (1.0 - rate) - 1e-9)
    ordered = np.sort(scores)
    soft = ordered[ordered < CERTAIN_SCORE]
    highest = max(float(soft[-1]) if len(soft) else 0.0, floor, _beyond(soft, rate))
    if 1 <= rank <= n and ordered[rank - 1] < CERTAIN_SCORE:
        bound = (n + 1 - rank) / (n + 1)
        if wanders:
            note = "the readings have wandered beyond what came before them"
            return ConformalThreshold(highest, rate, bound, False, n, needed, note)
        return ConformalThreshold(float(ordered[rank - 1]), rate, bound, True, n, needed)
    if rank > n and len(soft) == n:
        note = f"{n} held-out readings: {needed} are needed to guarantee this budget"
        return ConformalThreshold(highest, rate, 1.0 / (n + 1), False, n, needed, note)
    beyond = n - len(soft)
    note = f"{beyond} of {n} held-out readings lie beyond the earlier readings' range: the sensor has moved"
    return ConformalThreshold(highest, rate, (beyond + 1) / (n + 1), False, n, needed, note)


def _beyond(soft: Array, rate: float) -> float:
    """The score that the tail of ``soft`` (ascending) exceeds at this rate; 0 where there are too few."""
    if len(soft) < _FEWEST or rate >= _TAIL:
        return 0.0
    start = float(np.quantile(soft, 1.0 - _TAIL))
    excess = soft[soft > start] - start
    return start + float(excess.mean()) * math.log(_TAIL / rate) if len(excess) else 0.0


def compute_tail_probability(ordered: Array, scores: Array) -> NDArray[np.float64]:
    """Conformal p-values: the share of held-out scores (and itself) that are at least as high.

    Parameters
    ----------
    ordered : float, shape (n,)
        Held-out scores, ascending.
    scores : float, shape (m,)

    Returns
    -------
    float64, shape (m,)
        In (0, 1]; 1 / (n + 1) where no held-out score comes near.
    """
    higher = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return np.asarray((higher + 1.0) / (len(ordered) + 1.0), dtype=np.float64)
