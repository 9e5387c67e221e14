"""Turn a budget of false alarms into a threshold with a guarantee that holds for finite samples.

Held-out later readings and the next reading are taken as exchangeable. The k-th smallest of n held-out scores is
then exceeded with probability (n + 1 - k) / (n + 1) at most (split conformal prediction: Papadopoulos et al.,
ECML 2002; Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.sensors.readings.series import WEEK, Array

# Score of a reading that a hard rule calls an anomaly: above every score of a forest.
CERTAIN_SCORE = 2.0
_TAIL_SHARE = 0.1
# The tail of fewer scores is one or two of them, from which no rate can be extrapolated.
_MIN_SCORES = 20


@dataclass(frozen=True)
class ConformalThreshold:
    """A threshold and the false-alarm rate that it can guarantee.

    Parameters
    ----------
    value : float
        A score above this is an anomaly.
    rate : float
        Share of ordinary readings that may alarm at most.
    bound : float
        Share of ordinary readings that the held-out readings can guarantee.
    guaranteed : bool
        Whether the bound keeps the rate.
    held_out : int
        Number of held-out readings behind it.
    needed : int
        Number of held-out readings that a guarantee of this rate takes.
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
    """Return the share of readings that may alarm: alarms per week over readings per week."""
    return float(min(0.5, alarms_per_week * interval_s / WEEK))


def fit_threshold(
    scores: Array, rate: float, floor: float = 0.0, is_nonstationary: bool = False
) -> ConformalThreshold:
    """Return the lowest threshold that keeps the rate.

    Where the held-out readings are too few for that, or not stationary, the threshold is the highest score seen
    or, beyond it, an extrapolation of their tail to the rate, and nothing is guaranteed. The tail is taken as
    exponential (peaks over threshold: Pickands 1975; Siffer et al., "SPOT", KDD 2017).

    Parameters
    ----------
    scores : float, shape (n,)
        Scores of held-out readings, ``CERTAIN_SCORE`` where a hard rule alarms.
    rate : float
        Share of ordinary readings that may alarm.
    floor : float
        The largest score of the rows the forest was grown from: used where held-out readings are too few.
    is_nonstationary : bool
        Whether the readings are known not to be exchangeable.
    """
    count = len(scores)
    needed = max(1, math.ceil(1.0 / rate) - 1)
    # 1e-9: a rounding error must not move the rank to the next reading.
    rank = math.ceil((count + 1) * (1.0 - rate) - 1e-9)
    ordered = np.sort(scores)
    soft = ordered[ordered < CERTAIN_SCORE]
    highest = max(float(soft[-1]) if len(soft) else 0.0, floor, _extrapolate_tail(soft, rate))
    if 1 <= rank <= count and ordered[rank - 1] < CERTAIN_SCORE:
        bound = (count + 1 - rank) / (count + 1)
        if is_nonstationary:
            note = "the readings have wandered beyond what came before them"
            return ConformalThreshold(highest, rate, bound, False, count, needed, note)
        return ConformalThreshold(float(ordered[rank - 1]), rate, bound, True, count, needed)
    if rank > count and len(soft) == count:
        note = f"{count} held-out readings: {needed} are needed to guarantee this budget"
        return ConformalThreshold(highest, rate, 1.0 / (count + 1), False, count, needed, note)
    hard = count - len(soft)
    note = f"{hard} of {count} held-out readings lie beyond the earlier readings' range: the sensor has moved"
    return ConformalThreshold(highest, rate, (hard + 1) / (count + 1), False, count, needed, note)


def _extrapolate_tail(soft: Array, rate: float) -> float:
    """Return the score that the tail of ``soft`` (ascending) exceeds at this rate; 0 where it is too short."""
    if len(soft) < _MIN_SCORES or rate >= _TAIL_SHARE:
        return 0.0
    start = float(np.quantile(soft, 1.0 - _TAIL_SHARE))
    excess = soft[soft > start] - start
    return start + float(excess.mean()) * math.log(_TAIL_SHARE / rate) if len(excess) else 0.0


def compute_tail_probability(ordered: Array, scores: Array) -> NDArray[np.float64]:
    """Return conformal p-values: the share of held-out scores, plus one, that are at least as high.

    Parameters
    ----------
    ordered : float, shape (n,)
        Held-out scores, ascending.
    scores : float, shape (m,)

    Returns
    -------
    float64, shape (m,)
        In (0, 1]; 1 / (n + 1) above all held-out scores.
    """
    higher = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return np.asarray((higher + 1.0) / (len(ordered) + 1.0), dtype=np.float64)
