"""Remaining useful life, tied to the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from prediction.contract import (
    JSON,
    Champion,
    Metric,
    ModelFamily,
    ParityProbe,
    Progress,
    Resources,
    Scores,
)
from prediction.neural.checkpoint import Checkpoint
from prediction.rul import artefacts
from prediction.rul.data.windows import FleetSplit
from prediction.rul.evaluation import evaluate as evaluate_module
from prediction.rul.evaluation import plots
from prediction.rul.model import RulModel, point_predictions, predict_hours, train_networks
from prediction.rul.monitoring.production_metrics import ExpectedError
from prediction.rul.predictor import RulPredictor
from prediction.rul.prepare import PreparedFleet, prepare
from prediction.rul.preprocessing.preprocessor import Preprocessor
from storage.devices.telemetry import DeviceTelemetry

_PIECE = 512


class RulFamily(ModelFamily[PreparedFleet, RulModel]):
    """Networks on windows of telemetry; the judged weights serve."""

    name: ClassVar[str] = "rul"
    headline: ClassVar[Metric] = Metric("rmse", "h")
    requires_baseline: ClassVar[bool] = True
    guardrail_metrics: ClassVar[tuple[Metric, ...]] = (Metric("late_prediction_rate"),)

    def metric_limits(self, options: JSON) -> Mapping[str, float]:
        threshold = options["deployment_threshold"]
        return {} if threshold is None else {"mae": threshold}

    def prepare(self, source: JSON, options: JSON, resources: Resources) -> PreparedFleet:
        return prepare(source, options, resources)

    def fit(self, prepared: PreparedFleet, options: JSON, progress: Progress) -> RulModel:
        told = [prepared.fingerprint, options]
        with Checkpoint.temporary_for(prepared.checkpoints, told) as checkpoint:
            return train_networks(prepared.train, prepared.validation, options, progress, checkpoint)

    def evaluate(self, model: RulModel, prepared: PreparedFleet) -> Scores:
        found = _answers(model, prepared)
        scores = evaluate_module.scores(
            _performance(model, prepared), found, prepared.test, _mean_rul(prepared)
        )
        truth = prepared.test.targets.astype(np.float64)
        drawn = plots.of_test(truth, found, _serving(prepared).labeler, model.residuals)
        return replace(scores, figures=list(drawn))

    def evaluate_champion(self, champion: Champion, prepared: PreparedFleet, options: JSON) -> Scores | None:
        told = json.loads((champion.folder / "model_metadata.json").read_text(encoding="utf-8"))
        if not _is_comparable(told, prepared):
            return None
        predictor = RulPredictor.load(champion.folder, Resources(Path()))
        found = _champion_answers(predictor, prepared)
        labeler = _serving(prepared).labeler
        measured = evaluate_module.performance(found, prepared.test, labeler)
        return evaluate_module.scores(measured, found, prepared.test, _mean_rul(prepared))

    def save(self, model: RulModel, prepared: PreparedFleet, folder: Path) -> None:
        truth = prepared.test.targets.astype(np.float64)
        promise = ExpectedError.of(truth, _answers(model, prepared), _serving(prepared).horizon_hours)
        artefacts.write(model, prepared, _performance(model, prepared), promise, folder)

    def build_probe(self, model: RulModel, prepared: PreparedFleet) -> ParityProbe:
        inputs = [_asked(recorded) for recorded in prepared.probes]

        def network(windows: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.inference_mode():
                output: NDArray[np.float32] = model.network(torch.from_numpy(windows)).numpy()
            return output

        predictor = RulPredictor(_serving(prepared), model.residuals, network)
        tolerance = 1e-3 * max(1.0, _serving(prepared).horizon_hours)
        return ParityProbe(inputs, predictor.predict(inputs, {}), tolerance=tolerance)


def _serving(prepared: PreparedFleet) -> Preprocessor:
    return prepared.serving


def _answers(model: RulModel, prepared: PreparedFleet) -> NDArray[np.float64]:
    return predict_hours(model.network, prepared.test, _serving(prepared).horizon_hours)


def _performance(model: RulModel, prepared: PreparedFleet) -> JSON:
    found = _answers(model, prepared)
    return evaluate_module.performance(found, prepared.test, _serving(prepared).labeler, model.residuals)


def _mean_rul(prepared: PreparedFleet) -> float:
    return float(prepared.train.targets.mean())


def _is_comparable(told: JSON, prepared: PreparedFleet) -> bool:
    """Same question and same rows, and no test device that the champion has learnt from or been chosen by."""
    serving, theirs = _serving(prepared), Preprocessor.from_dict(told["serving"])
    known = {*told["data"]["devices"]["train"], *told["data"]["devices"]["validation"]}
    return (
        theirs.horizon_hours == serving.horizon_hours
        and theirs.window_hours == serving.window_hours
        and {*theirs.channels, *theirs.settings} <= set(prepared.facts["all_channels"])
        and not known & set(prepared.facts["devices"]["test"])
    )


def _champion_answers(predictor: RulPredictor, prepared: PreparedFleet) -> NDArray[np.float64]:
    """The champion's answers at the same rows, through its own normalisation and window."""
    test: FleetSplit = prepared.refitted_for(predictor.serving)
    pieces = [test.windows(slice(start, start + _PIECE)) for start in range(0, len(test), _PIECE)]
    found = np.concatenate([point_predictions(predictor.network(piece)) for piece in pieces])
    clipped: NDArray[np.float64] = np.clip(found, 0.0, predictor.serving.horizon_hours).astype(np.float64)
    return clipped


def _asked(recorded: DeviceTelemetry) -> JSON:
    """One window as the intake hands it over."""
    rows = [
        {name: float(value) for name, value in zip(recorded.channels, row, strict=True) if np.isfinite(value)}
        for row in recorded.values
    ]
    return {"device_id": recorded.device_id, "rows": rows, "times": recorded.times.tolist(), "dated": True}
