"""Faults inserted into real series: ``python -m benchmarks.sensors.inserted_faults --data DATA --series report``.

Detectors learn the first half of a series. ``budget`` uses their own thresholds for one false alarm a week;
``matched`` sets each threshold so that the clean second half has one episode a week. Faults start at evenly
spaced positions of the second half, sizes in robust deviations round the hour's usual value. A fault is found if
an alarm is raised while it lasts; positions where the clean series alarms already are left out.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.sensors import anomaly
from prediction.sensors.anomaly.anomaly_types import CONTEXT_LENGTH
from prediction.sensors.anomaly.composite import CompositeDetector
from prediction.sensors.anomaly.composite.parts import PARTS
from prediction.sensors.anomaly.detector import Detector
from prediction.sensors.options import SensorTrainingOptions
from prediction.sensors.readings.series import (
    WEEK,
    SensorSeries,
    count_episodes,
    estimate_interval_seconds,
)

Array = NDArray[Any]
CHOOSE = ("air:PT08_S1_CO", "air:PT08_S3_NOx", "air:AH", "ett:HUFL", "ett:LUFL", "nab:ambient_temperature")
REPORT = ("air:T", "air:RH", "air:PT08_S5_O3", "ett:MUFL", "ett:OT", "ett:LULL", "nab:machine_temperature")
POSITIONS = 40
LASTING = 24
RAMP = 168
TYPES = {
    "drift4": {"Drift"},
    "drift8": {"Drift"},
    "level4": {"Calibration Error", "Drift"},
    "noise2": {"Noise"},
    "spike4": {"Spike"},
    "stuck": {"Dropout"},
    "zero": {"Dropout"},
}


@dataclass(frozen=True)
class Fault:
    """A fault: its name and how long it lasts in readings."""

    name: str
    length: int

    def insert(self, values: Array, spread: float, chance: np.random.Generator) -> Array:
        """Return the readings with the fault; the first of them is the one before it."""
        faulty = values.copy()
        part = faulty[1:]
        sign = chance.choice([-1.0, 1.0])
        if self.name.startswith("drift"):
            part += sign * float(self.name[5:]) * spread * np.linspace(0, 1, len(part))
        elif self.name in ("level4", "spike4"):
            part += sign * 4 * spread
        elif self.name == "noise2":
            part += chance.normal(0, 2 * spread, len(part))
        elif self.name == "stuck":
            part[:] = faulty[0]
        else:
            part[:] = 0.0
        return faulty


def main() -> None:
    """Print one JSON document."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with sensors/ and forecasting/")
    command.add_argument("--series", choices=("choose", "report"), default="report")
    command.add_argument("--algorithms", nargs="+", default=["isolation_forest", "composite"])
    command.add_argument("--each", action="store_true", help="print each series, too")
    asked = command.parse_args()
    names = CHOOSE if asked.series == "choose" else REPORT
    series = {name: read(asked.data, name) for name in names}
    for algorithm in asked.algorithms:
        results = {name: judge(one, algorithm) for name, one in series.items()}
        print(json.dumps({"algorithm": algorithm, **summarize(list(results.values()))}))
        if asked.each:
            for name, one in results.items():
                print("  ", name, json.dumps(one))


def read(data: Path, name: str) -> SensorSeries:
    """Return a series by its name."""
    kind, _, column = name.partition(":")
    if kind == "air":
        path = data / "sensors/AirQualityUCI/AirQualityUCI.csv"
        rows = [
            (f"{r['Date']} {r['Time']}", r[column]) for r in csv.DictReader(path.open()) if r[column].strip()
        ]
        form = "%d/%m/%Y %H:%M:%S"
    elif kind == "ett":
        path = data / "forecasting/ETT/ETTh1.csv"
        rows, form = [(r["date"], r[column]) for r in csv.DictReader(path.open())], "%Y-%m-%d %H:%M:%S"
    else:
        path = data / f"sensors/NAB/data/realKnownCause/{column}_system_failure.csv"
        rows = [(r["timestamp"], r["value"]) for r in csv.DictReader(path.open())]
        form = "%Y-%m-%d %H:%M:%S"
    times = np.array([datetime.strptime(when, form).replace(tzinfo=UTC).timestamp() for when, _ in rows])
    values = np.array([float(value) for _, value in rows])
    kept = values != -200  # AirQualityUCI's marker for a missing value
    order = np.argsort(times[kept], kind="stable")
    series = SensorSeries(np.arange(int(kept.sum())), times[kept][order], values[kept][order])
    if kind != "nab":
        return series
    labels = json.loads((data / "sensors/NAB/labels/combined_windows.json").read_text())
    windows = labels[f"realKnownCause/{column}_system_failure.csv"]
    ends = [
        (datetime.fromisoformat(a).replace(tzinfo=UTC), datetime.fromisoformat(b).replace(tzinfo=UTC))
        for a, b in windows
    ]
    return series.exclude([(a.timestamp(), b.timestamp()) for a, b in ends])


def judge(series: SensorSeries, algorithm: str) -> dict[str, Any]:
    """Return shares of found faults at the matched and at the own threshold, types, and clean episodes."""
    half = len(series) // 2
    past, clean = series.select(slice(0, half)), series.select(slice(half, None))
    interval = estimate_interval_seconds(series.times)
    weeks = len(clean) * interval / WEEK
    began = time.process_time()
    detector = anomaly.train(past, SensorTrainingOptions(algorithm=algorithm))
    train_cpu = time.process_time() - began
    scores = _score(detector, series, half, clean.values)
    own = clean.times[scores > detector.threshold]
    matched = _match(scores, clean.times, interval, weeks)
    usual = anomaly.training._build_profile(series, -np.inf, np.inf)
    found: dict[str, Any] = {
        "own_episodes_a_week": round(count_episodes(own, interval) / weeks, 2),
        "train_cpu_ms": round(1e3 * train_cpu),
        "guaranteed": detector.facts["guaranteed"],
        "clean_parts": _count_parts(detector, series, half),
        "matched_over_own": round((matched / (1 - matched)), 2) if 0 < matched < 1 else None,
    }
    chance = np.random.default_rng(7)
    day = max(LASTING, 24) if interval > 1_800 else 96
    kinds = [Fault(name, 7 * day if "drift" in name else day) for name in TYPES]
    kinds = [replace(kind, length=1) if kind.name == "spike4" else kind for kind in kinds]
    for kind in kinds:
        hits: list[bool] = []
        budget_hits: list[bool] = []
        right: list[bool] = []
        for at in np.linspace(half + 50, len(series) - kind.length - 2, POSITIONS).astype(int):
            window = slice(at - half, at - half + kind.length)
            faulty = kind.insert(series.values[at - 1 : at + kind.length], usual.spread, chance)[1:]
            changed = SensorSeries(
                series.ids, series.times, np.concatenate([series.values[:at], faulty])
            ).select
            new = _score(detector, changed(slice(None)), at, faulty)
            for limit, outcome in ((matched, hits), (detector.threshold, budget_hits)):
                if (scores[window] > limit).any():
                    continue
                outcome.append(bool((new > limit).any()))
                if limit == detector.threshold and outcome[-1]:
                    right.append(_find_type(detector, series, at, faulty, new > limit) in TYPES[kind.name])
        found[kind.name] = [_share(hits), _share(budget_hits), _share(right)]
    return found


def _score(detector: Detector, series: SensorSeries, start: int, values: Array) -> Array:
    """Return the scores of readings from ``start`` on, with 1 for readings beyond the range and frozen ones."""
    first = max(0, start - max(detector.context_length, detector.run_context))
    end = start + len(values)
    stream = np.concatenate([series.values[first:start], values])
    scores = detector.score(values, series.times[start:end], stream, series.times[first:end])
    is_certain = detector.profile.is_out_of_range(values) | detector.find_frozen(values, stream)
    return np.where(is_certain, 1.0, scores)


def _count_parts(detector: Detector, series: SensorSeries, half: int) -> dict[str, int]:
    """Return how many clean readings each part of a composite detector calls an anomaly."""
    if not isinstance(detector, CompositeDetector):
        return {}
    first = max(0, half - detector.context_length)
    values = series.values[half:]
    parts, _, _ = detector.parts.compute(values, series.values[first:], series.times[first:])
    interval = detector.parts.interval_s
    fired = [
        count_episodes(series.times[half:][row > limit], interval)
        for row, limit in zip(parts, detector.limits, strict=True)
    ]
    outside = count_episodes(series.times[half:][detector.profile.is_out_of_range(values)], interval)
    return {**dict(zip(PARTS, fired, strict=True)), "range": outside}


def _match(scores: Array, times: Array, interval: float, weeks: float) -> float:
    """Return the lowest threshold with at most one clean episode a week."""
    candidates = np.unique(np.append(scores, [0.999999]))[-3_000:]
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if count_episodes(times[scores > candidates[middle]], interval) <= weeks:
            high = middle
        else:
            low = middle + 1
    return float(candidates[low])


def _find_type(detector: Detector, series: SensorSeries, at: int, faulty: Array, alarm: Array) -> str:
    """Return the type of the episode that the alarms of a fault form."""
    first = max(0, at - max(CONTEXT_LENGTH, detector.context_length))
    stream = np.concatenate([series.values[first:at], faulty])
    end = at + len(faulty)
    recent = [
        stream[max(0, position - CONTEXT_LENGTH) : position] for position in range(at - first, len(stream))
    ]
    answers = detector.detect(faulty, series.times[at:end], recent, stream, series.times[first:end])
    episode = None
    from prediction.sensors.serving.new_anomalies import to_episode

    for answer, value, when in zip(answers, faulty.tolist(), series.times[at:end].tolist(), strict=True):
        if answer["is_anomaly"]:
            new = to_episode(answer, value, datetime.fromtimestamp(when, UTC))
            if episode is None:
                episode = new
            else:
                episode.merge(new)
    return episode.type if episode else ""


def _share(hits: list[bool]) -> float | None:
    return round(float(np.mean(hits)), 2) if hits else None


def summarize(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means over the series: found at matched thresholds, at own ones, right types."""
    summary: dict[str, Any] = {
        "series": len(results),
        "within_budget": sum(one["own_episodes_a_week"] <= 1 for one in results),
        "own_episodes_a_week": [one["own_episodes_a_week"] for one in results],
        "train_cpu_ms": [one["train_cpu_ms"] for one in results],
    }
    for name in TYPES:
        shares = np.array([[np.nan if x is None else x for x in one[name]] for one in results], dtype=float)
        summary[name] = np.round(np.nanmean(shares, axis=0), 2).tolist()
    return summary


if __name__ == "__main__":
    main()
