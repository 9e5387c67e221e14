"""The training half of remaining useful life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON, Metric, Options, Progress, Resources, Scores, TrainingSource
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.export import as_numpy_function
from prediction.neural.family import NeuralFamily, ProbeInputs, load_predictor
from prediction.rul import artefacts
from prediction.rul.evaluation.evaluate import evaluate, evaluate_with_intervals, to_scores
from prediction.rul.evaluation.intervals import IntervalFunction, cross_interval
from prediction.rul.evaluation.plots import plot_test
from prediction.rul.monitoring.production_metrics import ExpectedError
from prediction.rul.predictor import RulPredictor
from prediction.rul.prepare import HeldOutRows, PreparedFleet, prepare
from prediction.rul.preprocessing.preprocessor import Preprocessor, RulInput
from prediction.rul.training import (
    RulModel,
    cross_validate_networks,
    point_predictions,
    predict_hours,
    train_networks,
)

_BATCH_SIZE: Final = 512
# Of a prediction, in shares of the horizon.
_TOLERANCE: Final = 1e-3


@dataclass(frozen=True)
class RulInfo:
    """What a version's ``model_metadata.json`` says about its comparison with later ones.

    Parameters
    ----------
    devices : frozenset of str
        Those that it was trained and validated on.
    held_out : mapping of str to mapping of int to float
        Of a small fleet, the hours that networks which had not seen the device predicted for it, by time.
    """

    preprocessor: Preprocessor
    devices: frozenset[str]
    held_out: Mapping[str, Mapping[int, float]]

    def can_predict(self, device: HeldOutRows) -> bool:
        """Return whether it has predictions for a test device that do not rest on rows of that device."""
        return device.device_id not in self.devices or (
            self.held_out.get(device.device_id, {}).keys() >= set(device.times.tolist())
        )


class RulFamily(NeuralFamily[PreparedFleet, RulModel, RulInfo]):
    """Networks on windows of telemetry."""

    name: ClassVar[str] = "rul"
    headline: ClassVar[Metric] = Metric("rmse", "h")
    requires_baseline: ClassVar[bool] = True
    guardrail_metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("late_prediction_rate"),
        # Few moments are critical: with 15 of them, one more or less that is missed is chance. A steady loss
        # below the tolerance is found by the paired test over devices.
        Metric("critical_missed_rate", tolerance=0.1),
        Metric("critical_lateness", tolerance=0.1),
    )
    info_file: ClassVar[str] = "model_metadata.json"

    def metric_limits(self, options: Options) -> Mapping[str, float]:
        limits = {
            "mae": options["deployment_threshold"],
            "critical_missed_rate": options["max_critical_missed"],
        }
        return {name: limit for name, limit in limits.items() if limit is not None}

    def prepare(self, source: TrainingSource, options: Options, resources: Resources) -> PreparedFleet:
        return prepare(source, options, resources)

    def train(
        self, prepared: PreparedFleet, options: Options, progress: Progress, checkpoint: Checkpoint | None
    ) -> RulModel:
        if prepared.folds:
            return cross_validate_networks(prepared, options, progress, checkpoint)
        return train_networks(prepared.train, prepared.validation, options, progress, checkpoint)

    def evaluate(self, model: RulModel, prepared: PreparedFleet) -> Scores:
        predictions = _predict_test(model, prepared)
        labeler, interval = prepared.preprocessor.labeler, _choose_interval(model, prepared, predictions)
        performance = evaluate_with_intervals(predictions, prepared.test, labeler, interval)
        truth = prepared.test.targets.astype(np.float64)
        figures = list(plot_test(truth, predictions, labeler, interval))
        scores = to_scores(performance, predictions, prepared.test, prepared.baselines, labeler)
        return replace(scores, figures=figures)

    def parse_info(self, info: JSON) -> RulInfo:
        devices = info["data"]["devices"]
        preprocessor = Preprocessor.from_dict(info["serving"])
        held_out = {
            name: dict(zip(moments["times"], moments["hours"], strict=True))
            for name, moments in info.get("held_out", {}).items()
        }
        return RulInfo(preprocessor, frozenset([*devices["train"], *devices["validation"]]), held_out)

    def is_comparable(self, info: RulInfo, prepared: PreparedFleet) -> bool:
        """Return whether the champion predicts the same, and each test device without having seen it."""
        own, champion = prepared.preprocessor, info.preprocessor
        return (
            champion.horizon_hours == own.horizon_hours
            and champion.window_hours == own.window_hours
            and {*champion.channels, *champion.settings} <= set(prepared.facts["all_channels"])
            and all(info.can_predict(device) for device in prepared.held_out_rows())
        )

    def score_champion(self, folder: Path, prepared: PreparedFleet) -> Scores:
        """Score the champion on the same rows, with its own normalisation and window."""
        predictor = load_predictor(RulPredictor, folder)
        test = prepared.rebuild_test(predictor.preprocessor)
        batches = [
            point_predictions(predictor.network(test.windows(slice(start, start + _BATCH_SIZE))))
            for start in range(0, len(test), _BATCH_SIZE)
        ]
        horizon = predictor.preprocessor.horizon_hours
        predictions = np.clip(np.concatenate(batches), 0.0, horizon).astype(np.float64)
        info = self.read_info(folder)
        for device in prepared.held_out_rows():
            if device.device_id in info.devices:
                held_out = info.held_out[device.device_id]
                predictions[device.positions] = [held_out[time] for time in device.times.tolist()]
        labeler = prepared.preprocessor.labeler
        performance = evaluate(predictions, prepared.test, labeler)
        return to_scores(performance, predictions, prepared.test, prepared.baselines, labeler)

    def save(self, model: RulModel, prepared: PreparedFleet, folder: Path) -> None:
        predictions, labeler = _predict_test(model, prepared), prepared.preprocessor.labeler
        interval = _choose_interval(model, prepared, predictions)
        performance = evaluate_with_intervals(predictions, prepared.test, labeler, interval)
        truth = prepared.test.targets.astype(np.float64)
        expected = ExpectedError.fit(truth, predictions, prepared.preprocessor.horizon_hours)
        artefacts.write_files(model, prepared, performance, expected, folder)

    def create_predictor(self, model: RulModel, prepared: PreparedFleet) -> RulPredictor:
        return RulPredictor(prepared.preprocessor, model.residuals, as_numpy_function(model.network))

    def probe_inputs(self, prepared: PreparedFleet) -> ProbeInputs:
        inputs: list[RulInput] = []
        for telemetry in prepared.probes:
            rows = [
                {
                    name: float(value)
                    for name, value in zip(telemetry.channels, row, strict=True)
                    if np.isfinite(value)
                }
                for row in telemetry.values
            ]
            inputs.append(
                {
                    "device_id": telemetry.device_id,
                    "rows": rows,
                    "times": telemetry.times.tolist(),
                    "dated": True,
                }
            )
        return ProbeInputs(inputs, _TOLERANCE * max(1.0, prepared.preprocessor.horizon_hours))


def _choose_interval(
    model: RulModel, prepared: PreparedFleet, predictions: NDArray[np.float64]
) -> IntervalFunction:
    """Return the intervals of the test part, which no row of it has calibrated for its own device."""
    test, horizon = prepared.test, prepared.preprocessor.horizon_hours
    if model.held_out is None:
        return partial(model.residuals.interval, predictions, horizon_hours=horizon)
    truth = test.targets.astype(np.float64)
    return partial(cross_interval, predictions, truth, test.devices, horizon_hours=horizon)


def _predict_test(model: RulModel, prepared: PreparedFleet) -> NDArray[np.float64]:
    """Return the predictions for the test part, of networks that have not seen its devices."""
    if model.held_out is not None:
        return model.held_out
    return predict_hours(model.network, prepared.test, prepared.preprocessor.horizon_hours)
