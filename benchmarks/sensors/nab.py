"""The anomaly detector on the Numenta Anomaly Benchmark: ``python -m benchmarks.sensors.nab --data NAB``.

The scorer is checked first: the null detector scores 0, a perfect one 100, and random scores land in the
published row (standard 11.0, seeds 7.95 to 16.83). Then the forest, trained on each file's probationary rows
only, and trained again as a plant would, on all rows so far; and the detectors that follow a stream, as the
benchmark means it: every row is judged by those before it, and nobody judges an alarm. The settings of ``knn_cad``
are the published ones. ``--streams`` runs the last part only.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from benchmarks.sensors.nab_score import File, benchmark, read_files
from prediction.sensors import anomaly
from prediction.sensors.anomaly.detector import Detector
from prediction.sensors.options import FOREST, SensorTrainingOptions
from prediction.sensors.readings.series import WEEK, SensorSeries, count_episodes, estimate_interval_seconds

Array = NDArray[Any]
ONE_FOREST = SensorTrainingOptions(algorithm=FOREST)
STREAMS = {name: SensorTrainingOptions(algorithm=name) for name in ("composite", "knn_cad")}
# Share of rows that may alarm: the published detector's own threshold, rounded to whole rows.
ALARMS = 0.005
BATCH = 250
ROUNDS = 20
EPISODE = 12
SEEDS = 10


def main() -> None:
    """Print one JSON document."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with data/ and labels/")
    command.add_argument("--streams", action="store_true", help="only the detectors that follow a stream")
    asked = command.parse_args()
    files = list(read_files(asked.data))
    found: dict[str, Any] = {"files": len(files), "windows": sum(len(file.windows) for file in files)}
    if not asked.streams:
        found |= _check_scorer(files) | {FOREST: _measure_forest(files)}
    for name, options in STREAMS.items():
        follow = partial(streamed, options=options)
        found[name] = {
            "machines": {file: _windows_found(files, file, options) for file in MACHINES},
            "streamed": benchmark(files, follow),
            "streamed_in_episodes": benchmark(files, partial(streamed_in_episodes, options=options)),
            "streamed_every_second_file": [benchmark(files[half::2], follow) for half in (0, 1)],
        }
    print(json.dumps(found, indent=2))


def _check_scorer(files: list[File]) -> dict[str, Any]:
    random = [benchmark(files, partial(_random, seed=seed)) for seed in range(SEEDS)]
    return {
        "null": benchmark(files, lambda file: np.zeros(len(file.values))),
        "perfect": benchmark(files, _perfect),
        "random_mean": {name: round(float(np.mean([r[name] for r in random])), 1) for name in random[0]},
        "random_standard": sorted(r["standard"] for r in random),
    }


def _measure_forest(files: list[File]) -> dict[str, Any]:
    return {
        "machines": {file: _windows_found(files, file, ONE_FOREST) for file in MACHINES},
        "once": benchmark(files, partial(once, options=ONE_FOREST)),
        "retrained": benchmark(files, partial(retrained, options=ONE_FOREST)),
        "retrained_odd_kept": benchmark(files, partial(retrained, options=ONE_FOREST, leave_out=False)),
    }


MACHINES = (
    "realKnownCause/machine_temperature_system_failure.csv",
    "realKnownCause/ambient_temperature_system_failure.csv",
)


def once(file: File, options: SensorTrainingOptions) -> Array:
    """Scores of a detector that has seen the probationary rows only."""
    series = _series(file)
    detector = anomaly.train(series.select(slice(0, file.probation)), options)
    return told_once(_scores(detector, series))


def streamed(file: File, options: SensorTrainingOptions) -> Array:
    """Scores of a detector that follows a stream, asked 250 rows at a time, as a plant would send them."""
    return _follow(file, _train_for_stream(file, options))


def streamed_in_episodes(file: File, options: SensorTrainingOptions) -> Array:
    """Return the scores of the rows that open an episode, as the product alarms; all others are 0.

    A detector that keeps saying that a shift lasts would be charged for every row of it.
    """
    detector = _train_for_stream(file, options)
    scores = _follow(file, detector)
    alarms = np.flatnonzero(scores > detector.threshold)
    opening = alarms[np.diff(alarms, prepend=-np.inf) > EPISODE]
    opened = np.zeros(len(scores))
    opened[opening] = scores[opening]
    return opened


def _train_for_stream(file: File, options: SensorTrainingOptions) -> Detector:
    per_week = ALARMS * WEEK / estimate_interval_seconds(file.times)
    probation = _series(file).select(slice(0, file.probation))
    return anomaly.train(probation, replace(options, false_alarms_per_week=per_week))


def _follow(file: File, detector: Detector) -> Array:
    series = _series(file)
    scores = np.zeros(len(series))
    for start in range(file.probation, len(series), BATCH):
        part = series.select(slice(start, start + BATCH))
        known = slice(max(0, start - detector.context_length), start + len(part))
        scores[start : start + BATCH] = detector.score(
            part.values, part.times, file.values[known], file.times[known]
        )
    return scores


def retrained(file: File, options: SensorTrainingOptions, leave_out: bool = True) -> Array:
    """Scores of a detector trained again twenty times on all rows so far.

    What it called odd is left out of training, as the product does until a person has decided, or kept, as
    if a person had called each of them a new normal or a false alarm.
    """
    series = _series(file)
    scores = np.zeros(len(series))
    odd = np.zeros(len(series), dtype=bool)
    edges = np.linspace(file.probation, len(series), ROUNDS + 1).astype(int)
    for start, end in pairwise(edges.tolist()):
        past = np.flatnonzero(~odd[:start])
        detector = anomaly.train(series.select(past), options)
        part = series.select(slice(start, end))
        scores[start:end] = _scores(detector, part)
        if leave_out:
            odd[start:end] = detector.find_anomalies(part.values, part.times, file.values[:end])
    return told_once(scores)


def _scores(detector: Detector, series: SensorSeries) -> Array:
    """Return what alarms are ranked by: scores, and 1 to 2 beyond the range, by the distance from it in spreads."""
    known = detector.profile
    far = np.maximum(known.low - series.values, series.values - known.high) / known.spread
    beyond = 1.0 + np.maximum(far, 0.0) / (1.0 + np.maximum(far, 0.0))
    return np.where(far > 0, beyond, detector.score(series.values, series.times))


def told_once(scores: Array) -> Array:
    """Suppress repeats of an episode: a row counts only above everything in the twelve rows before it."""
    before = np.concatenate([np.full(EPISODE, -np.inf), scores])[:-1]
    return np.where(scores > sliding_window_view(before, EPISODE).max(axis=1)[: len(scores)], scores, 0.0)


def _series(file: File) -> SensorSeries:
    return SensorSeries(np.arange(len(file.values)), file.times, file.values)


def _random(file: File, seed: int) -> Array:
    return np.random.default_rng([seed, len(file.name), len(file.values)]).random(len(file.values))


def _perfect(file: File) -> Array:
    scores = np.zeros(len(file.values))
    scores[[max(left, file.probation) for left, _ in file.windows]] = 1.0
    return scores


def _windows_found(files: list[File], name: str, options: SensorTrainingOptions) -> dict[str, Any]:
    """With the product's own threshold: windows in which something is found, and alarms outside them.

    Trained on the probationary rows only, and again every week on all rows outside the labelled windows, as
    if a person had judged everything by then.
    """
    file = next(file for file in files if file.name == name)
    weeks = (file.times[-1] - file.times[file.probation]) / WEEK
    first = anomaly.train(_series(file).select(slice(0, file.probation)), options)
    beyond = first.profile.is_out_of_range(file.values) & ~_labelled(file)
    return {
        "once": _report(file, _alarms(file, [file.probation, len(file.values)], options)),
        "weekly": _report(file, _alarms(file, _weekly(file), options)),
        "weeks": round(weeks, 1),
        "probation_days": round((file.times[file.probation] - file.times[0]) / 86_400, 1),
        "ordinary_rows_beyond_its_range": round(float(beyond[file.probation :].mean()), 3),
        "guaranteed_once": first.facts["guaranteed"],
    }


def _weekly(file: File) -> list[int]:
    """Positions a week apart, from the end of the probation to the end."""
    marks = np.arange(file.times[file.probation], file.times[-1], WEEK)
    return [*np.searchsorted(file.times, marks).tolist(), len(file.values)]


def _alarms(file: File, edges: list[int], options: SensorTrainingOptions) -> Array:
    """Alarms after the first edge, by a detector that is trained at every edge."""
    series, labelled = _series(file), _labelled(file)
    alarm = np.zeros(len(series), dtype=bool)
    for start, end in pairwise(edges):
        detector = anomaly.train(series.select(np.flatnonzero(~labelled[:start])), options)
        part = series.select(slice(start, end))
        alarm[start:end] = detector.find_anomalies(part.values, part.times, file.values[:end])
    return alarm


def _labelled(file: File) -> Array:
    inside = np.zeros(len(file.values), dtype=bool)
    for left, right in file.windows:
        inside[left : right + 1] = True
    return inside


def _report(file: File, alarm: Array) -> dict[str, Any]:
    """Windows that were hit, and alarms a week outside them: over all weeks, and over the second half."""
    hit = sum(bool(alarm[left : right + 1].any()) for left, right in file.windows)
    outside = alarm & ~_labelled(file)
    middle = (file.probation + len(alarm)) // 2
    weeks = (file.times[-1] - file.times[file.probation]) / WEEK
    late = (file.times[-1] - file.times[middle]) / WEEK
    told = count_episodes(file.times[outside], estimate_interval_seconds(file.times))
    return {
        "windows_found": f"{hit} of {len(file.windows)}",
        "false_readings_a_week": round(float(outside.sum() / weeks), 2),
        "false_episodes_a_week": round(told / weeks, 2),
        "false_readings_a_week_second_half": round(float(outside[middle:].sum() / late), 2),
        "false_episodes_a_week_second_half": round(
            count_episodes(file.times[middle:][outside[middle:]], estimate_interval_seconds(file.times))
            / late,
            2,
        ),
    }


if __name__ == "__main__":
    main()
