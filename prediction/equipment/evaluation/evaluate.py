"""Measure a model on held-out normal time, on faults inserted into it, and on labelled events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.contract import Scores
from prediction.equipment.data.inserted_faults import KINDS, InsertedFaults, insert_faults
from prediction.equipment.data.periods import HOUR, FailurePeriod
from prediction.equipment.evaluation.plots import plot_evaluation
from prediction.equipment.model.detector import AssetDetector
from prediction.equipment.model.equipment_model import EquipmentModel
from prediction.equipment.model.limits import WEEK_SECONDS, number_episodes
from prediction.equipment.model.preprocessor import RunningRows

# Standard errors below the measured rate of false alarms that are granted to chance.
_CHANCE: Final = 1.645


@dataclass(frozen=True)
class FaultResult:
    """Which inserted faults a detector finds; arrays of shape (faults,).

    Parameters
    ----------
    found : bool
        Whether a row of the fault is an alarm that the same row without the fault is not.
    is_channel_right : bool
        Whether the broken channel contributes most at the highest score of a found fault.
    """

    found: NDArray[np.bool_]
    is_channel_right: NDArray[np.bool_]

    @property
    def miss_rate(self) -> float:
        """Return the share of faults that are not found."""
        return float(1.0 - self.found.mean())


@dataclass(frozen=True)
class EventResult:
    """How labelled events were found.

    Parameters
    ----------
    found : list of bool
    forewarning_hours : list of float
        From the first alarm of each found event to its end.
    """

    found: list[bool]
    forewarning_hours: list[float]


def measure_faults(detector: AssetDetector, faults: InsertedFaults) -> FaultResult:
    """Return which inserted faults a detector finds."""
    scores = detector.score(faults.faulty)
    new = scores.alarms & ~detector.score(faults.clean).alarms & faults.is_fault
    count = len(faults.channel)
    found = np.bincount(faults.stretch[new], minlength=count) > 0
    ranked = np.where(new, scores.score, -np.inf).reshape(count, -1)
    peaks = ranked.argmax(axis=1) + np.arange(count) * ranked.shape[1]
    # Only the peaks are explained.
    leading = np.full(len(scores.score), -1, dtype=np.int64)
    leading[peaks] = scores.leading[peaks]
    strongest = detector.explain(faults.faulty, leading)[peaks].argmax(axis=1)
    return FaultResult(found, found & (strongest == faults.channel))


def measure_events(model: EquipmentModel, rows: RunningRows, events: Sequence[FailurePeriod]) -> EventResult:
    """Return which events have an alarm between their start and their end; no model learns from their rows."""
    result = EventResult([], [])
    if not events:
        return result
    alarms = model.score(rows).alarms
    for event in events:
        inside = alarms & (rows.times >= event.start) & (rows.times <= event.end)
        result.found.append(bool(inside.any()))
        if inside.any():
            result.forewarning_hours.append((event.end - int(rows.times[inside.argmax()])) / HOUR)
    return result


def count_false_alarms(detector_alarms: NDArray[np.bool_]) -> int:
    """Return the number of episodes in normal time."""
    return int(number_episodes(detector_alarms).max(initial=0))


def evaluate(
    model: EquipmentModel,
    baselines: Mapping[str, AssetDetector],
    test: RunningRows,
    running: RunningRows,
    events: Sequence[FailurePeriod],
) -> Scores:
    """Score a model beside its baselines, which share its preprocessor.

    Parameters
    ----------
    test : RunningRows
        Held-out normal time.
    running : RunningRows
        All running time, with the labelled events.
    """
    rows = model.preprocessor.normalise(test)
    faults = insert_faults(rows)
    result = measure_faults(model.detector, faults)
    others = {name: measure_faults(detector, faults) for name, detector in baselines.items()}
    scores = model.detector.score(rows)
    weeks = len(test) * model.preprocessor.layout.interval / 1e6 / WEEK_SECONDS
    episodes = count_false_alarms(scores.alarms)
    metrics = {
        "miss_rate": result.miss_rate,
        **{
            f"miss_rate.{kind}": float(1.0 - result.found[faults.kind == number].mean())
            for number, kind in enumerate(KINDS)
        },
        "right_channel_rate": float(result.is_channel_right.sum() / max(1, result.found.sum())),
        "false_alarms_per_week": episodes / weeks,
        # What the measured episodes prove: one of them in a short test is no reason against a model.
        "proven_false_alarms_per_week": max(0.0, episodes - _CHANCE * math.sqrt(max(1, episodes))) / weeks,
        **_describe_events(measure_events(model, running, events)),
    }
    found = {"model": result.found, **{name: other.found for name, other in others.items()}}
    headlines = {name: other.miss_rate for name, other in others.items()}
    return Scores(
        headline=result.miss_rate,
        metrics=metrics,
        baselines=headlines,
        held_out=len(test),
        beats_baselines=all(result.miss_rate < other for other in headlines.values()),
        losses=(~result.found).astype(float).tolist(),
        figures=plot_evaluation(model, rows, scores, faults, found),
    )


def _describe_events(result: EventResult) -> dict[str, float]:
    """Return the metrics of labelled events; none where there are no events."""
    if not result.found:
        return {}
    metrics = {"events": float(len(result.found)), "missed_event_rate": 1.0 - float(np.mean(result.found))}
    if result.forewarning_hours:
        metrics["forewarning_hours"] = float(np.median(result.forewarning_hours))
    return metrics
