"""The sensors family: connects reading, training, evaluation and storage to the training pipeline."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, cast

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
from prediction.sensors.data_source import SensorsSource
from prediction.sensors.model_names import FAMILY, MODEL_KINDS
from prediction.sensors.options import FOREST, SensorTrainingOptions
from prediction.sensors.serving.downloads import write_download
from prediction.sensors.serving.predictor import SensorModel, SensorsPredictor
from prediction.sensors.tasks import SensorFacts
from prediction.sensors.training_data import PreparedSensorData, prepare

NUM_PROBES = 64
_DOWNLOAD = re.compile(rf"({'|'.join(MODEL_KINDS)})_model_.*\.joblib")


@dataclass(frozen=True)
class TrainedSensorModel:
    """A trained model: ``evaluated`` has seen the past only, ``served`` all rows (once it is refitted)."""

    evaluated: SensorModel
    served: SensorModel


class SensorsFamily(ModelFamily[PreparedSensorData, TrainedSensorModel]):
    """Anomaly, drift and calibration models, one of each per sensor."""

    name: ClassVar[str] = FAMILY
    headline: ClassVar[Metric] = Metric("error")

    def prepare(self, source: TrainingSource, options: Options, resources: Resources) -> PreparedSensorData:
        return prepare(cast("SensorsSource", source), resources)

    def fit(self, prepared: PreparedSensorData, options: Options, progress: Progress) -> TrainedSensorModel:
        model = prepared.task.train(prepared.task.past, SensorTrainingOptions.from_dict(options))
        return TrainedSensorModel(model, model)

    def evaluate(self, model: TrainedSensorModel, prepared: PreparedSensorData) -> Scores:
        return prepared.task.evaluate(model.evaluated)

    def evaluate_champion(
        self, champion: Champion, prepared: PreparedSensorData, options: Options
    ) -> Scores | None:
        """Score the champion's options, trained on the rows it had seen without the held-out ones.

        The champion itself may have seen the held-out rows.
        """
        with artefact_errors(f"Version {champion.number}"):
            seen = prepared.task.seen_by(cast("SensorFacts", champion.manifest["facts"]))
            # Versions that were stored without an algorithm are isolation forests: there was no other one.
            options_then = {"algorithm": FOREST, **champion.manifest["options"]}
            champion_options = SensorTrainingOptions.from_dict(options_then)
        if len(seen) < prepared.task.min_seen_rows:
            return None
        return prepared.task.evaluate(prepared.task.train(seen, champion_options))

    def refit(
        self, model: TrainedSensorModel, prepared: PreparedSensorData, options: Options, progress: Progress
    ) -> TrainedSensorModel:
        served = prepared.task.refit(model.evaluated, SensorTrainingOptions.from_dict(options))
        return replace(model, served=served)

    def save(self, model: TrainedSensorModel, prepared: PreparedSensorData, folder: Path) -> None:
        model.served.save(folder)

    def build_probe(self, model: TrainedSensorModel, prepared: PreparedSensorData) -> ParityProbe:
        inputs = prepared.task.build_inputs(NUM_PROBES)
        return ParityProbe(inputs, SensorsPredictor(model.served).predict(inputs, {}), tolerance=1e-9)

    def download(self, folder: Path, file_name: str, target: Path) -> bool:
        """Write the scikit-learn model of a version."""
        match = _DOWNLOAD.fullmatch(file_name)
        return match is not None and write_download(folder, match[1], target)
