"""Learning what is ordinary for a sensor: an isolation forest and a threshold from later readings."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON, Scores
from prediction.figures import bars
from prediction.sensors.anomaly import knn_cad, sklearn_forest
from prediction.sensors.anomaly.detector import Detector, ForestDetector, SensorProfile
from prediction.sensors.anomaly.isolation_forest import Forest, grow
from prediction.sensors.anomaly.range_margin import RangeMargin, estimate_margin
from prediction.sensors.anomaly.threshold import (
    CERTAIN_SCORE,
    ConformalThreshold,
    budget_to_rate,
    fit_threshold,
)
from prediction.sensors.readings.series import (
    WEEK,
    SensorSeries,
    build_classic_features,
    build_cyclic_features,
    count_episodes,
    estimate_centre_and_scale,
    estimate_interval_seconds,
    hour_of_day,
)

Array = NDArray[Any]

MIN_READINGS = 10
HELD_OUT_SHARE = 0.4
EVALUATION_HELD_OUT_SHARE = 0.25
"""Of a detector that is to be judged, and then moved on: the same readings grow its trees either way."""
_KEPT_SCORES = 4_096
_HOURLY_GAIN = 0.9
_FAULT_SIZES = (4.0, 8.0)
"""Sizes of the faults put into held-out readings, in robust standard deviations."""


def train(series: SensorSeries, options: JSON, held_out: float = HELD_OUT_SHARE) -> Detector:
    """A detector from readings in order of time, two at least.

    Parameters
    ----------
    held_out : float
        Share of the readings, the latest, that grows no tree and sets the threshold.
    """
    if options["algorithm"] == knn_cad.ALGORITHM:
        return _streaming(series, options)
    if options["mode"] == "classic":
        return _classic(series, options)
    cut = len(series) - max(1, round(held_out * len(series)))
    early = series.part(slice(0, cut))
    centre, scale = estimate_centre_and_scale(early.values)
    features = build_cyclic_features(early.values, early.times, centre, scale)
    forest = grow(features, options["trees"], options["seed"])
    grown = _Grown(forest, centre, scale, cut, float(forest.score(features).max()))
    return _calibrated(grown, series, options)


def recalibrate(detector: Detector, series: SensorSeries, options: JSON) -> Detector:
    """The same trees with the threshold, the range and the usual values of a longer series.

    The trees are most of the work, and what was judged is what serves.

    Parameters
    ----------
    detector : Detector
        Trained on the first readings of ``series``.
    """
    if not isinstance(detector, ForestDetector) or detector.mode == "classic":
        return train(series, options)
    told = detector.facts
    grown = _Grown(detector.forest, detector.centre, detector.scale, told["grown_from"], told["highest_seen"])
    return _calibrated(grown, series, options)


def _streaming(series: SensorSeries, options: JSON) -> Detector:
    """No model to speak of: each reading will be compared with those before it."""
    centre, scale = estimate_centre_and_scale(series.values)
    profile, _ = _ranged(series, options["range_margin"], scale)
    budget = options["false_alarms_per_week"]
    rate = budget_to_rate(budget, estimate_interval_seconds(series.times))
    return knn_cad.start_detector(series.values, profile, (budget, rate), centre, scale)


@dataclass(frozen=True)
class _Grown:
    """A forest, the shift and scale of its features, how many readings it grew from, their highest score."""

    forest: Forest
    centre: float
    scale: float
    cut: int
    highest: float


def _classic(series: SensorSeries, options: JSON) -> Detector:
    """The old platform's model: scikit-learn's forest on the raw clock, a fixed share flagged."""
    share = 0.1 if options["contamination"] is None else options["contamination"]
    features = build_classic_features(series.values, series.times)
    forest, threshold = sklearn_forest.fit(features, options["trees"], options["seed"], share)
    profile = _profile(series, -math.inf, math.inf)
    facts = {"algorithm": "isolation_forest", "mode": "classic", "contamination": share, "guaranteed": False}
    held_out = _thinned(forest.score(features))
    return ForestDetector(threshold, held_out, profile, facts, forest, "classic", 0.0, 1.0)


def _calibrated(grown: _Grown, series: SensorSeries, options: JSON) -> Detector:
    """A detector whose threshold comes from the readings after those that its trees have seen."""
    early, later = series.part(slice(0, grown.cut)), series.part(slice(grown.cut, None))
    trees = (grown.forest, "cyclic", grown.centre, grown.scale)
    known, _ = _ranged(early, options["range_margin"], grown.scale)
    draft = ForestDetector(0.0, np.empty(0), known, {}, *trees)
    rate = budget_to_rate(options["false_alarms_per_week"], estimate_interval_seconds(series.times))
    scores = draft.scores(later.values, later.times)
    judged = np.where(draft.beyond(later.values), CERTAIN_SCORE, scores)
    profile, room = _ranged(series, options["range_margin"], grown.scale)
    found = fit_threshold(judged, rate, grown.highest, room.wanders)
    fixed = options["contamination"] is not None
    value, facts = _share(draft, early, options) if fixed else _budgeted(found, options)
    facts |= {"algorithm": "isolation_forest", "mode": "cyclic", "margin": room.room}
    facts |= {"grown_from": grown.cut, "highest_seen": grown.highest}
    return ForestDetector(value, _thinned(scores), profile, facts, *trees)


def _budgeted(found: ConformalThreshold, options: JSON) -> tuple[float, JSON]:
    """The threshold of the budget, and what it rests on."""
    return found.value, {"false_alarms_per_week": options["false_alarms_per_week"], **asdict(found)}


def _share(draft: Detector, early: SensorSeries, options: JSON) -> tuple[float, JSON]:
    """The threshold that flags the contamination somebody asked for."""
    share = options["contamination"]
    value = float(np.quantile(draft.scores(early.values, early.times), 1.0 - share))
    return value, {"contamination": share, "guaranteed": False}


def _ranged(series: SensorSeries, share: float, scale: float) -> tuple[SensorProfile, RangeMargin]:
    low, high = float(series.values.min()), float(series.values.max())
    found = estimate_margin(series, share, scale)
    return _profile(series, low - found.room, high + found.room), found


def _profile(series: SensorSeries, low: float, high: float) -> SensorProfile:
    """Usual value by hour where the hour explains something, else one value for the whole day."""
    overall, spread = estimate_centre_and_scale(series.values)
    expected = np.full(24, overall)
    clock = hour_of_day(series.times).astype(int)
    count = np.bincount(clock, minlength=24)
    ordered = series.values[np.lexsort((series.values, clock))]
    known = np.flatnonzero(count >= MIN_READINGS // 2)
    first = (np.cumsum(count) - count)[known]
    expected[known] = (ordered[first + (count[known] - 1) // 2] + ordered[first + count[known] // 2]) / 2
    rest = estimate_centre_and_scale(series.values - expected[clock])[1]
    if rest > _HOURLY_GAIN * spread:
        expected, rest = np.full(24, overall), spread
    step = estimate_centre_and_scale(np.diff(series.values))[1] if len(series) > 1 else 0.0
    return SensorProfile(expected, rest, step, low, high)


def _thinned(scores: Array) -> Array:
    """Ascending scores as float32, at most 4,096 of them: enough for a confidence."""
    ordered = np.sort(scores).astype(np.float32)
    if len(ordered) <= _KEPT_SCORES:
        return ordered
    thinned: Array = ordered[np.linspace(0, len(ordered) - 1, _KEPT_SCORES).round().astype(int)]
    return thinned


def evaluate(detector: Detector, past: SensorSeries, held_out: SensorSeries) -> Scores:
    """False alarms on held-out readings, and faults put into the same readings that stay unseen.

    The headline is the balanced error: the mean of the false-alarm rate and of the miss rate. Faults are
    4 and 8 robust standard deviations of the past up and down, the same for every detector that is judged.
    """
    faulty, real = _faulty(past, held_out), np.concatenate([past.values, held_out.values])
    losses, alarm, missed = _balanced(detector.alarms, held_out, faulty, real)
    rule, rule_alarm, rule_missed = _balanced(_three_sigma(past), held_out, faulty, real)
    interval = estimate_interval_seconds(np.concatenate([past.times, held_out.times]))
    weeks = len(held_out) * interval / WEEK
    metrics = {
        "error": float(losses.mean()),
        "false_alarm_rate": float(alarm.mean()),
        "false_alarms_per_week": float(alarm.sum()) / weeks,
        "false_alarm_episodes_per_week": count_episodes(held_out.times[alarm], interval) / weeks,
        "miss_rate": float(missed.mean()),
    }
    baselines = {"three_sigma": float(rule.mean())}
    beats = metrics["error"] < baselines["three_sigma"]
    shares = {
        "this model": [metrics["false_alarm_rate"], metrics["miss_rate"]],
        "three sigma": [float(rule_alarm.mean()), float(rule_missed.mean())],
    }
    what = ["false alarms", "faults missed"]
    drawn = bars("Share of held-out readings judged wrongly", "share", what, shares)
    return Scores(metrics["error"], metrics, baselines, len(held_out), beats, losses.tolist(), [drawn])


def _faulty(past: SensorSeries, held_out: SensorSeries) -> Array:
    """The held-out values with a fault in each."""
    spread = _profile(past, -math.inf, math.inf).spread
    at = np.arange(len(held_out))
    size = np.where(at % 4 < 2, *_FAULT_SIZES) * np.where(at % 2 == 0, 1.0, -1.0)
    values: Array = held_out.values + size * spread
    return values


def _balanced(alarms: Any, held_out: SensorSeries, faulty: Array, real: Array) -> tuple[Array, Array, Array]:
    """Loss a reading, whether the clean reading alarmed, whether the faulty one stayed unseen."""
    alarm = alarms(held_out.values, held_out.times, real)
    missed = ~alarms(faulty, held_out.times, real)
    return 0.5 * alarm + 0.5 * missed, alarm, missed


def _three_sigma(past: SensorSeries) -> Any:
    mean, deviation = float(past.values.mean()), float(past.values.std())
    return lambda values, times, within: np.abs(values - mean) > 3 * deviation
