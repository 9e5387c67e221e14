"""How far beyond the range seen so far an ordinary reading may lie: told by the readings' own past.

A sensor that goes on as it did keeps its range, and a tenth of it is room enough. One that wanders leaves it
week after week. So the past is asked: how far did the readings of a week go beyond everything before them? A
shorter look ahead counts by the square root of time, as a random walk's reach grows (an expanding-window
backtest of the records; Arnold, Balakrishnan, Nagaraja, "Records", 1998).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from prediction.sensors.readings.series import DAY, WEEK, SensorSeries

_ORIGINS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Where in the past somebody stood and looked a week ahead, in parts of the time covered."""
_FEWEST = 100
_SHORTEST = 2 * DAY
_MOST = 1.0
"""Of the range seen, the most that is added on each side."""
_LEAST = 0.5
"""Of a robust standard deviation, the least."""
_ALONE = 3
"""So many readings have to go beyond: a lone spike is no wandering."""
_CHANCE = 1e-3


@dataclass(frozen=True)
class RangeMargin:
    """Room beyond the range seen.

    Parameters
    ----------
    room : float
        On each side, in the sensor's unit.
    wanders : bool
        Whether more readings went beyond what came before them than chance allows: the readings are not
        exchangeable, and nothing can be guaranteed.
    """

    room: float
    wanders: bool


def estimate_margin(series: SensorSeries, share: float, scale: float) -> RangeMargin:
    """The room that a sensor's past asks for.

    Parameters
    ----------
    series : Series
        In order of time.
    share : float
        Of the range seen, the room a steady sensor gets.
    scale : float
        Robust standard deviation of the values.
    """
    span = float(np.ptp(series.values))
    room = max(share * span, _LEAST * scale)
    covered = float(series.times[-1] - series.times[0])
    if len(series) < _FEWEST or covered < _SHORTEST:
        return RangeMargin(room, False)
    looks = [_look(series, float(series.times[0]) + part * covered, room) for part in _ORIGINS]
    reach = max(reached for reached, _ in looks)
    return RangeMargin(max(room, min(reach, _MOST * span)), any(unlikely for _, unlikely in looks))


def _look(series: SensorSeries, origin: float, room: float) -> tuple[float, bool]:
    """How far a week's readings went beyond those up to ``origin``; whether too many did, and by ``room``."""
    until = min(float(series.times[-1]), origin + WEEK)
    start, end = np.searchsorted(series.times, [origin, until], side="right")
    past, later = series.values[:start], series.values[start:end]
    if not len(past) or not len(later):
        return 0.0, False
    low, high = float(past.min()), float(past.max())
    highest = np.sort(later)[-_ALONE:][0]
    lowest = np.sort(later)[:_ALONE][-1]
    excess = max(float(highest) - high, low - float(lowest), 0.0)
    most = max(int((later > high + room).sum()), int((later < low - room).sum()))
    chance = (len(later) / (len(past) + len(later))) ** most
    return excess * math.sqrt(WEEK / (until - origin)), chance < _CHANCE
