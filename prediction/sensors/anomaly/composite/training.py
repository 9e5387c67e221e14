"""Train the composite detector: fit its parts, and set their thresholds on later readings than they learnt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from prediction.sensors.anomaly.composite.detector import ALGORITHM, THRESHOLD, CompositeDetector
from prediction.sensors.anomaly.composite.parts import PARTS, STUCK, PartsModel, fit_parts
from prediction.sensors.anomaly.detector import DetectorFacts, SensorProfile
from prediction.sensors.anomaly.threshold import ConformalThreshold, fit_threshold
from prediction.sensors.readings.series import (
    EPISODE_INTERVALS,
    WEEK,
    Array,
    SensorSeries,
    estimate_interval_seconds,
)

# Where the forward fits end, as shares of the readings: later ones set thresholds, the served fit uses all.
_ORIGINS = (0.5, 0.75)
# Least thresholds: in robust deviations for innovations, in 99 % quantiles of the fit for the means. Slow parts have
# few independent excursions, so a quiet half must not bring their thresholds down to what the fit saw every week.
_MIN_LIMITS = np.array([3.0, 1.6, 1.6, 1.25, 0.0])
# Where too few blocks are held out for the budget, thresholds widen by up to this share.
_MAX_WIDENING = 0.25
# A change between the held-out halves is measured from this many blocks, and widens thresholds up to this factor.
_MIN_BLOCKS = 20
_MAX_CHANGE = 1.25
# Blocks that are taken for old faults go beyond the largest expected one by this factor, and are few.
_FAULT_RATIO = 1.75
_MAX_FAULT_SHARE = 0.02
_MIN_FAULTS = 3
# Mean of an exponential tail from its 90 % to its 98 % quantile, in means of the whole tail.
_TRUNCATED_MEAN = 0.6
# Enough for a confidence with three digits.
_MAX_STORED_SCORES = 1_024


def train_composite(
    series: SensorSeries, profile: SensorProfile, budget: float, is_nonstationary: bool
) -> CompositeDetector:
    """Return a detector whose parts share the budget.

    Alarms are counted in episodes: two alarms within twelve readings belong to one, so a block of twelve readings
    starts one episode at most. The largest statistic of each held-out block is compared with the next block's, so
    the conformal bound holds for episodes. The parts' shares of the budget add up to it (union bound).

    Parameters
    ----------
    series : SensorSeries
        At least two readings in order of time.
    budget : float
        False alarms per week.
    """
    interval = estimate_interval_seconds(series.times)
    statistics = _score_forward(series, interval)
    rate = min(0.5, budget * EPISODE_INTERVALS * interval / WEEK)
    blocks = _take_block_maxima(statistics)
    is_fault = np.any([_find_faults(row) for row in blocks[:STUCK]], axis=0)
    blocks = blocks[:, ~is_fault]
    # On the scale on which thresholds are fitted.
    scaled = np.clip(blocks * _SCORE_PER_UNIT, 0.0, 1.9)
    fitted = [fit_threshold(row, rate / len(PARTS), 0.0, is_nonstationary) for row in scaled]
    limits = np.array([threshold.value / _SCORE_PER_UNIT for threshold in fitted])
    # The fewer blocks a threshold rests on, the wider it is.
    missing = np.array([max(0.0, 1.0 - item.held_out / max(1, item.needed)) for item in fitted])
    limits = np.maximum(limits, 1e-9) * (1.0 + _MAX_WIDENING * missing) * _compare_halves(blocks)
    limits = np.maximum(limits, _MIN_LIMITS)
    limits[STUCK] = profile.max_equal
    parts = fit_parts(series.values, series.times, interval)
    facts = _state_facts(fitted, int(is_fault.sum()))
    facts |= DetectorFacts(false_alarms_per_week=budget, rate=rate, held_out=statistics.shape[1])
    draft = CompositeDetector(THRESHOLD, np.empty(0), profile, facts, parts, limits)
    # Ascending, and evenly thinned to the most that are stored.
    scores = np.sort(draft.to_scores(statistics)).astype(np.float32)
    count = min(len(scores), _MAX_STORED_SCORES)
    return replace(draft, held_out=scores[np.linspace(0, len(scores) - 1, count).round().astype(int)])


def _state_facts(fitted: Sequence[ConformalThreshold], faults: int) -> DetectorFacts:
    """Return what the thresholds of the parts guarantee together, ``faults`` blocks left out."""
    worst = max(fitted, key=lambda threshold: (not threshold.guaranteed, threshold.bound))
    note = worst.note.replace("held-out readings", f"held-out blocks of {EPISODE_INTERVALS} readings")
    if faults and not note:
        note = f"{faults} held-out blocks of {EPISODE_INTERVALS} readings look like faults and are left out"
    return {
        "algorithm": ALGORITHM,
        "bound": sum(threshold.bound for threshold in fitted),
        "guaranteed": not faults and all(threshold.guaranteed for threshold in fitted),
        "needed": worst.needed * EPISODE_INTERVALS,
        "left_out_blocks": faults,
        "note": note,
    }


def _score_forward(series: SensorSeries, interval_s: float) -> Array:
    """Return the statistics of the later readings, each from a fit to the readings before its part."""
    count, rows = len(series), []
    edges = [max(1, round(share * count)) for share in _ORIGINS] + [count]
    for start, end in pairwise(edges):
        if start >= end:
            continue
        model: PartsModel = fit_parts(series.values[:start], series.times[:start], interval_s)
        first = max(0, start - model.context_length)
        rows.append(
            model.compute(series.values[start:end], series.values[first:end], series.times[first:end])[0]
        )
    return np.concatenate(rows, axis=1) if rows else np.zeros((len(PARTS), 0))


def _find_faults(maxima: Array) -> NDArray[np.bool_]:
    """Return which blocks go far beyond what the tail of the others explains, shape (blocks,).

    A few old faults that nobody has judged must not set the thresholds. The tail is taken as exponential and fitted
    without the largest blocks.
    """
    count = len(maxima)
    candidates = max(_MIN_FAULTS, math.ceil(_MAX_FAULT_SHARE * count))
    if count < _MIN_BLOCKS:
        return np.zeros(count, dtype=bool)
    core = np.sort(maxima)[: count - candidates]
    start = float(np.quantile(core, 0.9))
    excess = core[core > start] - start
    scale = float(excess.mean()) / _TRUNCATED_MEAN if len(excess) else 0.0
    largest = start + scale * math.log(max(0.1 * count, 1.0))
    is_fault: NDArray[np.bool_] = maxima > _FAULT_RATIO * largest
    return is_fault if is_fault.sum() <= candidates else np.zeros(count, dtype=bool)


def _compare_halves(blocks: Array) -> Array:
    """Return how much wider the thresholds must be because the held-out halves differ; 1 where they agree.

    Block maxima that change from one half of the held-out time to the other may change as much again. Their 90 %
    quantiles are compared: the largest ones change by chance.
    """
    middle = blocks.shape[1] // 2
    if middle < _MIN_BLOCKS:
        return np.ones(len(blocks))
    halves = [np.quantile(part, 0.9, axis=1) for part in (blocks[:, :middle], blocks[:, middle:])]
    ratio = np.max(halves, axis=0) / np.maximum(np.min(halves, axis=0), 1e-9)
    wider: Array = np.clip(ratio, 1.0, _MAX_CHANGE)
    return wider


def _take_block_maxima(statistics: Array) -> Array:
    """Return the largest statistic of each block of twelve readings, shape (5, blocks)."""
    count = statistics.shape[1] // EPISODE_INTERVALS
    if not count:
        largest: Array = statistics.max(axis=1, keepdims=True)
        return largest
    used = statistics[:, statistics.shape[1] - count * EPISODE_INTERVALS :]
    maxima: Array = used.reshape(len(PARTS), count, EPISODE_INTERVALS).max(axis=2)
    return maxima


# Thresholds are fitted on scores that stay below ``CERTAIN_SCORE``; a linear scale keeps the shape of the tail.
_SCORE_PER_UNIT = 1e-9
