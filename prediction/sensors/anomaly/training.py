"""Train and evaluate anomaly detectors: grow a forest on early readings, set its threshold on later ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import cast

import numpy as np

from prediction.contract import Scores
from prediction.figures import bars
from prediction.sensors.anomaly import composite, knn_cad, sklearn_forest
from prediction.sensors.anomaly.detector import Detector, DetectorFacts, ForestDetector, SensorProfile
from prediction.sensors.anomaly.equal_runs import limit_equal_runs
from prediction.sensors.anomaly.isolation_forest import Forest, grow
from prediction.sensors.anomaly.range_margin import RangeMargin, estimate_margin
from prediction.sensors.anomaly.threshold import CERTAIN_SCORE, budget_to_rate, fit_threshold
from prediction.sensors.options import SensorTrainingOptions
from prediction.sensors.readings.series import (
    WEEK,
    Array,
    SensorSeries,
    build_classic_features,
    build_cyclic_features,
    count_episodes,
    estimate_centre_and_scale,
    estimate_interval_seconds,
    hour_of_day,
)

MIN_READINGS = 10
HELD_OUT_SHARE = 0.4
# Of a detector that is evaluated and then recalibrated: its trees grow on the same readings either way.
EVALUATION_HELD_OUT_SHARE = 0.25
# Enough held-out scores for a confidence with three digits; more only make the artefact larger.
_MAX_STORED_SCORES = 4_096
# The hour of the day counts only where it removes a tenth of the spread: 24 medians are noisier than one.
_MAX_HOURLY_SPREAD = 0.9
# Sizes of the faults put into held-out readings, in robust standard deviations: one that is easily missed and one
# that should not be.
_FAULT_SIZES = (4.0, 8.0)
# Share of the false-alarm budget for values that repeat unusually long: one of the composite detector's five parts.
_EQUAL_RUNS_BUDGET_SHARE = 0.2
# contamination of the old platform's model
_CLASSIC_CONTAMINATION = 0.1

# Returns which readings are anomalies, from values, times and the values that the sensor really showed.
AnomalyFinder = Callable[[Array, Array, Array], Array]


def train(
    series: SensorSeries, options: SensorTrainingOptions, held_out_share: float = HELD_OUT_SHARE
) -> Detector:
    """Return a detector.

    Parameters
    ----------
    series : SensorSeries
        At least two readings.
    held_out_share : float
        Share of the readings, the latest, that grows no tree and sets the threshold.
    """
    budget = options.false_alarms_per_week
    if options.algorithm == knn_cad.ALGORITHM:
        centre, scale = estimate_centre_and_scale(series.values)
        profile, _ = _profile_with_limits(series, options, scale)
        rate = budget_to_rate(budget, estimate_interval_seconds(series.times))
        return knn_cad.start_detector(
            series.values, profile, budget=budget, rate=rate, centre=centre, scale=scale
        )
    if options.algorithm == composite.ALGORITHM:
        _, scale = estimate_centre_and_scale(series.values)
        profile, margin = _profile_with_limits(series, options, scale)
        return composite.train_composite(series, profile, budget, margin.is_nonstationary)
    if options.mode == "classic":
        return _train_classic_detector(series, options)
    cut = len(series) - max(1, round(held_out_share * len(series)))
    early = series.select(slice(0, cut))
    centre, scale = estimate_centre_and_scale(early.values)
    features = build_cyclic_features(early.values, early.times, centre, scale)
    forest = grow(features, options.trees, options.seed)
    return _calibrate(
        _GrownForest(forest, centre, scale, cut, float(forest.score(features).max())), series, options
    )


def recalibrate(detector: Detector, series: SensorSeries, options: SensorTrainingOptions) -> Detector:
    """Return the same trees with the threshold, range and usual values of a longer series.

    The trees are most of the work, and the trees that were evaluated are those that serve. Detectors without
    trees of that kind are trained again.

    Parameters
    ----------
    detector : Detector
        Trained on the first readings of ``series``.
    """
    if not isinstance(detector, ForestDetector) or detector.mode == "classic":
        return train(series, options)
    facts = detector.facts
    grown = _GrownForest(
        detector.forest, detector.centre, detector.scale, facts["grown_from"], facts["highest_seen"]
    )
    return _calibrate(grown, series, options)


def _train_classic_detector(series: SensorSeries, options: SensorTrainingOptions) -> Detector:
    """Return the old platform's model: scikit-learn's forest on the raw clock, a fixed share flagged."""
    share = _CLASSIC_CONTAMINATION if options.contamination is None else options.contamination
    features = build_classic_features(series.values, series.times)
    forest, threshold = sklearn_forest.fit(features, options.trees, options.seed, share)
    facts: DetectorFacts = {
        "algorithm": "isolation_forest",
        "mode": "classic",
        "contamination": share,
        "guaranteed": False,
    }
    profile = _build_profile(series, -math.inf, math.inf)
    scores = _compress_scores(forest.score(features))
    return ForestDetector(threshold, scores, profile, facts, forest, "classic", 0.0, 1.0)


@dataclass(frozen=True)
class _GrownForest:
    """A forest, how its features are scaled, from how many readings it grew, and the highest score of these."""

    forest: Forest
    centre: float
    scale: float
    grown_from: int
    highest_seen: float


def _calibrate(grown: _GrownForest, series: SensorSeries, options: SensorTrainingOptions) -> Detector:
    """Return a detector whose threshold comes from the readings after those that grew its trees."""
    early = series.select(slice(0, grown.grown_from))
    later = series.select(slice(grown.grown_from, None))
    early_profile, _ = _profile_with_limits(early, options, grown.scale)
    trees = (grown.forest, "cyclic", grown.centre, grown.scale)
    # The range of the early readings alone, as they cannot know the later ones that set the threshold.
    draft = ForestDetector(0.0, np.empty(0), early_profile, {}, *trees)
    scores = draft.score(later.values, later.times)
    profile, margin = _profile_with_limits(series, options, grown.scale)
    if options.contamination is None:
        rate = budget_to_rate(options.false_alarms_per_week, estimate_interval_seconds(series.times))
        hard_scores = np.where(draft.profile.is_out_of_range(later.values), CERTAIN_SCORE, scores)
        fitted = fit_threshold(hard_scores, rate, grown.highest_seen, margin.is_nonstationary)
        threshold = fitted.value
        facts = cast(
            "DetectorFacts", {"false_alarms_per_week": options.false_alarms_per_week, **asdict(fitted)}
        )
    else:
        early_scores = draft.score(early.values, early.times)
        threshold = float(np.quantile(early_scores, 1.0 - options.contamination))
        facts = DetectorFacts(contamination=options.contamination, guaranteed=False)
    facts |= DetectorFacts(
        algorithm="isolation_forest",
        mode="cyclic",
        margin=margin.width,
        grown_from=grown.grown_from,
        highest_seen=grown.highest_seen,
    )
    return ForestDetector(threshold, _compress_scores(scores), profile, facts, *trees)


def _profile_with_limits(
    series: SensorSeries, options: SensorTrainingOptions, scale: float
) -> tuple[SensorProfile, RangeMargin]:
    """Return the profile of a series, with its range, the margin beyond it, and how long values may repeat."""
    low, high = float(series.values.min()), float(series.values.max())
    margin = estimate_margin(series, options.range_margin, scale)
    max_equal = limit_equal_runs(series, options.false_alarms_per_week * _EQUAL_RUNS_BUDGET_SHARE)
    profile = _build_profile(series, low - margin.width, high + margin.width)
    return replace(profile, max_equal=max_equal), margin


def _build_profile(series: SensorSeries, low: float, high: float) -> SensorProfile:
    """Return the usual value by hour where the hour explains something, else one value for the whole day."""
    overall, spread = estimate_centre_and_scale(series.values)
    hour = hour_of_day(series.times).astype(int)
    count = np.bincount(hour, minlength=24)
    # The median of each hour, without a loop: sorted by hour and value, it is the middle of the hour's part.
    ordered = series.values[np.lexsort((series.values, hour))]
    observed = np.flatnonzero(count >= MIN_READINGS // 2)
    first = (np.cumsum(count) - count)[observed]
    expected = np.full(24, overall)
    lower, upper = (count[observed] - 1) // 2, count[observed] // 2
    expected[observed] = (ordered[first + lower] + ordered[first + upper]) / 2
    hourly_spread = estimate_centre_and_scale(series.values - expected[hour])[1]
    if hourly_spread > _MAX_HOURLY_SPREAD * spread:
        expected, hourly_spread = np.full(24, overall), spread
    step = estimate_centre_and_scale(np.diff(series.values))[1] if len(series) > 1 else 0.0
    return SensorProfile(expected, hourly_spread, step, low, high)


def _compress_scores(scores: Array) -> Array:
    """Return ascending scores as float32, evenly thinned to the most that are stored."""
    ordered = np.sort(scores).astype(np.float32)
    if len(ordered) <= _MAX_STORED_SCORES:
        return ordered
    thinned: Array = ordered[np.linspace(0, len(ordered) - 1, _MAX_STORED_SCORES).round().astype(int)]
    return thinned


def evaluate(detector: Detector, past: SensorSeries, held_out: SensorSeries) -> Scores:
    """Measure false alarms on held-out readings, and missed faults put into the same readings.

    The headline is the balanced error: the mean of the false-alarm rate and of the miss rate. Faults are 4 and 8
    robust standard deviations of the past, up and down, the same for every detector that is evaluated.
    """
    positions = np.arange(len(held_out))
    sizes = np.where(positions % 4 < 2, *_FAULT_SIZES) * np.where(positions % 2 == 0, 1.0, -1.0)
    faulty = held_out.values + sizes * _build_profile(past, -math.inf, math.inf).spread
    stream = np.concatenate([past.values, held_out.values])
    false_alarm, missed = _find_errors(detector.find_anomalies, held_out, faulty, stream)
    losses = 0.5 * false_alarm + 0.5 * missed

    mean, deviation = float(past.values.mean()), float(past.values.std())
    rule_false_alarm, rule_missed = _find_errors(
        lambda values, times, stream: np.abs(values - mean) > 3 * deviation, held_out, faulty, stream
    )
    baselines = {"three_sigma": float((0.5 * rule_false_alarm + 0.5 * rule_missed).mean())}

    interval = estimate_interval_seconds(np.concatenate([past.times, held_out.times]))
    weeks = len(held_out) * interval / WEEK
    metrics = {
        "error": float(losses.mean()),
        "false_alarm_rate": float(false_alarm.mean()),
        "false_alarms_per_week": float(false_alarm.sum()) / weeks,
        "false_alarm_episodes_per_week": count_episodes(held_out.times[false_alarm], interval) / weeks,
        "miss_rate": float(missed.mean()),
    }
    shares = {
        "this model": [metrics["false_alarm_rate"], metrics["miss_rate"]],
        "three sigma": [float(rule_false_alarm.mean()), float(rule_missed.mean())],
    }
    chart = bars(
        "Share of held-out readings judged wrongly", "share", ["false alarms", "faults missed"], shares
    )
    return Scores(
        metrics["error"],
        metrics,
        baselines,
        len(held_out),
        metrics["error"] < baselines["three_sigma"],
        losses.tolist(),
        [chart],
    )


def _find_errors(
    find_anomalies: AnomalyFinder, held_out: SensorSeries, faulty: Array, stream: Array
) -> tuple[Array, Array]:
    """Return for each reading whether it raised a false alarm, and whether the fault in it was missed."""
    false_alarm = find_anomalies(held_out.values, held_out.times, stream)
    return false_alarm, ~find_anomalies(faulty, held_out.times, stream)
