"""The sensors family: ties reading, learning, judging and saving to the contract."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

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
from prediction.sensors.calibration.correction import CalibrationPairs
from prediction.sensors.intake import MODEL_KINDS
from prediction.sensors.model import TrainedSensorModel, judged, learnt, moved_on
from prediction.sensors.serving import downloads
from prediction.sensors.serving.predictor import answers
from prediction.sensors.training_data import PreparedSensorData, prepare, seen_by

NUM_PROBES = 64
_FEWEST_KNOWN = {"anomaly": 10, "drift": 20, "calibration": 3}
_DOWNLOAD = re.compile(rf"({'|'.join(MODEL_KINDS)})_model_.*\.joblib")


class SensorsFamily(ModelFamily[PreparedSensorData, TrainedSensorModel]):
    """Anomaly, drift and calibration models, one of each a sensor."""

    name: ClassVar[str] = "sensors"
    headline: ClassVar[Metric] = Metric("error")

    def prepare(self, source: JSON, options: JSON, resources: Resources) -> PreparedSensorData:
        return prepare(source, resources)

    def fit(self, prepared: PreparedSensorData, options: JSON, progress: Progress) -> TrainedSensorModel:
        material = prepared.training_data
        return TrainedSensorModel(material.kind, learnt(material, material.past, options))

    def evaluate(self, model: TrainedSensorModel, prepared: PreparedSensorData) -> Scores:
        return judged(prepared.training_data, model.judged)

    def evaluate_champion(
        self, champion: Champion, prepared: PreparedSensorData, options: JSON
    ) -> Scores | None:
        """The champion's recipe on the rows it had seen, less the held-out ones."""
        material = prepared.training_data
        told = champion.manifest["facts"]
        known = seen_by(material, told["readings_up_to"], told["last_time"])
        if len(known) < _FEWEST_KNOWN[material.kind]:
            return None
        return judged(material, learnt(material, known, champion.manifest["options"]))

    def refit(
        self, model: TrainedSensorModel, prepared: PreparedSensorData, options: JSON, progress: Progress
    ) -> TrainedSensorModel:
        """The same recipe on every row; a detector keeps its trees, its threshold moves on."""
        material = prepared.training_data
        return replace(model, served=moved_on(material, model.judged, options))

    def save(self, model: TrainedSensorModel, prepared: PreparedSensorData, folder: Path) -> None:
        model.served.save(folder)

    def build_probe(self, model: TrainedSensorModel, prepared: PreparedSensorData) -> ParityProbe:
        """The latest rows, asked again."""
        rows = prepared.training_data.rows
        values = rows.raw if isinstance(rows, CalibrationPairs) else rows.values
        at = [-1 - step % len(values) for step in range(NUM_PROBES)]
        asked = [_input(float(values[i]), float(rows.times[i]), values[:5].tolist()) for i in at]
        return ParityProbe(asked, answers(model.served, asked), tolerance=1e-9)

    def download(self, folder: Path, file_name: str, target: Path) -> bool:
        """scikit-learn's view of a model, made when somebody asks for it."""
        if not _DOWNLOAD.fullmatch(file_name):
            return False
        return downloads.write(folder, file_name.split("_", 1)[0], target)


def _input(value: float, time: float, recent: list[Any]) -> JSON:
    return {"value": value, "time": time, "recent": recent, "future_points": 3}
