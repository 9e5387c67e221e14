"""The training half of equipment: choose an algorithm by backtest, evaluate it, and fit it to all normal time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.contract import (
    Champion,
    Metric,
    ModelFamily,
    Options,
    ParityProbe,
    Progress,
    Resources,
    Scores,
    TrainingSource,
    artefact_errors,
)
from prediction.equipment.data.inserted_faults import insert_faults
from prediction.equipment.data.prepare import MIN_NORMAL_ROWS, PreparedAsset, prepare
from prediction.equipment.data_source import to_request_rows
from prediction.equipment.evaluation.evaluate import count_false_alarms, evaluate, measure_faults
from prediction.equipment.model.detector import AssetDetector
from prediction.equipment.model.equipment_model import EquipmentModel
from prediction.equipment.model.limits import AlarmLimitRecord
from prediction.equipment.model.preprocessor import ChannelPreprocessor
from prediction.equipment.model.training import fit_detector
from prediction.equipment.options import ALGORITHMS, AUTO
from prediction.equipment.predictor import AssetInput, EquipmentPredictor
from prediction.telemetry import forward_fill
from storage.filesystem.checked_write import save_json

BASELINES: Final = ("pca_t2", "single_channel")
NUM_PROBES: Final = 64
_PROBE_ROWS: Final = 24
# More than twice the budget of false alarms is a reason not to promote.
_MAX_BUDGETS: Final = 2.0


class EquipmentInfo(TypedDict):
    """The content of ``model_info.json``; ``conditions`` are the usual settings of each operating condition."""

    algorithm: str
    backtest: dict[str, float]
    limit: AlarmLimitRecord
    off_when: str | None
    conditions: list[dict[str, float]]


@dataclass(frozen=True)
class TrainedEquipment:
    """A trained model.

    Parameters
    ----------
    evaluated, served : EquipmentModel
        What has seen the past only, and what has seen all rows once it is refitted.
    baselines : mapping of str to AssetDetector
        Fitted as ``evaluated`` was.
    backtest : mapping
        Miss rate of each algorithm that was tried on the validation part.
    """

    evaluated: EquipmentModel
    served: EquipmentModel
    baselines: Mapping[str, AssetDetector]
    backtest: Mapping[str, float]


class EquipmentFamily(ModelFamily[PreparedAsset, TrainedEquipment]):
    """One multivariate detector for each asset."""

    name: ClassVar[str] = "equipment"
    headline: ClassVar[Metric] = Metric("miss_rate")
    requires_baseline: ClassVar[bool] = True
    guardrail_metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("missed_event_rate"),
        Metric("right_channel_rate", higher_is_better=True),
    )

    def metric_limits(self, options: Options) -> Mapping[str, float]:
        return {"proven_false_alarms_per_week": _MAX_BUDGETS * options["false_alarms_per_week"]}

    def prepare(self, source: TrainingSource, options: Options, resources: Resources) -> PreparedAsset:
        return prepare(source, options, resources)

    def fit(self, prepared: PreparedAsset, options: Options, progress: Progress) -> TrainedEquipment:
        backtest = {} if options["algorithm"] != AUTO else _backtest(prepared, options, progress)
        algorithm = min(backtest, key=lambda name: backtest[name].rank) if backtest else options["algorithm"]
        model = _fit_model(prepared, prepared.past, algorithm, options)
        missed = {name: trial.miss_rate for name, trial in backtest.items()}
        return TrainedEquipment(model, model, _fit_baselines(model, prepared, prepared.past, options), missed)

    def evaluate(self, model: TrainedEquipment, prepared: PreparedAsset) -> Scores:
        running = prepared.running
        return evaluate(
            model.evaluated, model.baselines, running.select(prepared.test), running, prepared.events
        )

    def evaluate_champion(
        self, champion: Champion, prepared: PreparedAsset, options: Options
    ) -> Scores | None:
        """Score the champion's algorithm, fitted to the past rows that it has seen.

        The champion itself may have learnt the held-out rows. None where it watches other channels, or has seen too
        few rows.
        """
        with artefact_errors(f"Version {champion.number}"):
            served = EquipmentModel.load(champion.folder)
            last_time = champion.manifest["facts"]["last_time"]
        seen = prepared.past[prepared.running.times[prepared.past] <= last_time]
        if len(seen) < MIN_NORMAL_ROWS or list(served.preprocessor.layout.channels) != list(
            prepared.layout.channels
        ):
            return None
        model = _fit_model(prepared, seen, served.detector.algorithm, options)
        baselines = _fit_baselines(model, prepared, seen, options)
        running = prepared.running
        return evaluate(model, baselines, running.select(prepared.test), running, prepared.events)

    def refit(
        self, model: TrainedEquipment, prepared: PreparedAsset, options: Options, progress: Progress
    ) -> TrainedEquipment:
        algorithm = model.evaluated.detector.algorithm
        return replace(model, served=_fit_model(prepared, prepared.normal, algorithm, options))

    def save(self, model: TrainedEquipment, prepared: PreparedAsset, folder: Path) -> None:
        model.served.save(folder)
        save_json(folder / "model_info.json", _describe(model))

    def build_probe(self, model: TrainedEquipment, prepared: PreparedAsset) -> ParityProbe:
        inputs = _build_inputs(prepared)
        expected = EquipmentPredictor(model.served).predict(inputs, {})
        return ParityProbe(inputs, expected, tolerance=1e-6)


@dataclass(frozen=True)
class _Trial:
    """How an algorithm did on the validation part: its missed faults, and false alarms beyond twice its budget."""

    miss_rate: float
    surplus_alarms: float

    @property
    def rank(self) -> float:
        """Return what the best algorithm has least of: an alarm too many counts as a missed fault of a hundred."""
        return self.miss_rate + self.surplus_alarms / 100


def _backtest(prepared: PreparedAsset, options: Options, progress: Progress) -> dict[str, _Trial]:
    """Return how each algorithm does on the validation part."""
    trials = {}
    validation = prepared.running.select(prepared.validation)
    for number, algorithm in enumerate(ALGORITHMS, 1):
        model = _fit_model(prepared, prepared.train, algorithm, options)
        rows = model.preprocessor.normalise(validation)
        episodes = count_false_alarms(model.detector.score(rows).alarms)
        weeks = len(rows) * prepared.interval_seconds / 604_800.0
        allowed = 1 + _MAX_BUDGETS * options["false_alarms_per_week"] * weeks
        result = measure_faults(model.detector, insert_faults(rows))
        trials[algorithm] = _Trial(result.miss_rate, max(0.0, episodes - allowed))
        progress("fit", done=number, of=len(ALGORITHMS), algorithm=algorithm, miss_rate=result.miss_rate)
    return trials


def _fit_model(
    prepared: PreparedAsset, places: NDArray[np.int64], algorithm: str, options: Options
) -> EquipmentModel:
    rows = prepared.running.select(places)
    preprocessor = ChannelPreprocessor.fit(prepared.layout, rows)
    detector = fit_detector(
        algorithm,
        preprocessor.normalise(rows),
        options["false_alarms_per_week"],
        prepared.interval_seconds,
    )
    return EquipmentModel(prepared.device_id, preprocessor, detector)


def _fit_baselines(
    model: EquipmentModel, prepared: PreparedAsset, places: NDArray[np.int64], options: Options
) -> dict[str, AssetDetector]:
    rows = model.preprocessor.normalise(prepared.running.select(places))
    budget, interval = options["false_alarms_per_week"], prepared.interval_seconds
    return {name: fit_detector(name, rows, budget, interval) for name in BASELINES}


def _build_inputs(prepared: PreparedAsset) -> list[AssetInput]:
    """Return stretches of held-out telemetry as a client would send them."""
    # As the model read them: a channel may have no value of its own in a whole stretch.
    telemetry = replace(prepared.telemetry, values=forward_fill(prepared.telemetry.values))
    last = np.linspace(prepared.test[0], prepared.test[-1], NUM_PROBES).round().astype(int)
    ends = prepared.running.positions[last] + 1
    inputs: list[AssetInput] = []
    for end in ends.tolist():
        stretch = telemetry.select(slice(max(0, end - _PROBE_ROWS), end))
        inputs.append(
            {
                "device_id": telemetry.device_id,
                "rows": to_request_rows(stretch),
                "times": stretch.times.tolist(),
                "dated": True,
                "context": 0,
            }
        )
    return inputs


def _describe(model: TrainedEquipment) -> EquipmentInfo:
    """Return the family's own fields of ``model_info.json``."""
    preprocessor, detector = model.served.preprocessor, model.served.detector
    conditions = preprocessor.conditions
    return {
        "algorithm": detector.algorithm,
        "backtest": dict(model.backtest),
        "limit": detector.limit.to_dict(),
        "off_when": preprocessor.layout.off_when,
        "conditions": [
            dict(zip(preprocessor.layout.settings, (centre * conditions.scale).tolist(), strict=True))
            for centre in conditions.centres
        ],
    }
