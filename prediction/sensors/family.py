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
    Prepared,
    Probe,
    Progress,
    Resources,
    Scores,
)
from prediction.sensors import downloads
from prediction.sensors.calibration import Pairs
from prediction.sensors.intake import KINDS
from prediction.sensors.model import Trained, judged, learnt, moved_on
from prediction.sensors.predictor import answers
from prediction.sensors.prepare import Material, known_to, prepare

PROBES = 64
_FEWEST_KNOWN = {"anomaly": 10, "drift": 20, "calibration": 3}
_DOWNLOAD = re.compile(rf"({'|'.join(KINDS)})_model_.*\.joblib")


class SensorsFamily(ModelFamily):
    """Anomaly, drift and calibration models, one of each a sensor."""

    name: ClassVar[str] = "sensors"
    headline: ClassVar[Metric] = Metric("error")

    def prepare(self, source: JSON, options: JSON, resources: Resources) -> Prepared:
        return prepare(source, resources)

    def fit(self, prepared: Prepared, options: JSON, progress: Progress) -> Trained:
        material: Material = prepared.train
        return Trained(material.kind, learnt(material, material.past, options))

    def evaluate(self, model: Trained, prepared: Prepared) -> Scores:
        return judged(prepared.test, model.judged)

    def evaluate_champion(self, champion: Champion, prepared: Prepared, options: JSON) -> Scores | None:
        """The champion's recipe on the rows it had seen, less the held-out ones."""
        material: Material = prepared.train
        told = champion.manifest["facts"]
        known = known_to(material, told["readings_up_to"], told["last_time"])
        if len(known) < _FEWEST_KNOWN[material.kind]:
            return None
        return judged(material, learnt(material, known, champion.manifest["options"]))

    def refit(self, model: Trained, prepared: Prepared, options: JSON, progress: Progress) -> Trained:
        """The same recipe on every row; a detector keeps its trees, its threshold moves on."""
        material: Material = prepared.train
        return replace(model, served=moved_on(material, model.judged, options))

    def save(self, model: Trained, prepared: Prepared, folder: Path) -> None:
        model.served.save(folder)

    def probe(self, model: Trained, prepared: Prepared) -> Probe:
        """The latest rows, asked again."""
        rows = prepared.train.rows
        values = rows.raw if isinstance(rows, Pairs) else rows.values
        at = [-1 - step % len(values) for step in range(PROBES)]
        asked = [_input(float(values[i]), float(rows.times[i]), values[:5].tolist()) for i in at]
        return Probe(asked, answers(model.served, asked), tolerance=1e-9)

    def download(self, folder: Path, file_name: str, target: Path) -> bool:
        """scikit-learn's view of a model, made when somebody asks for it."""
        if not _DOWNLOAD.fullmatch(file_name):
            return False
        return downloads.write(folder, file_name.split("_", 1)[0], target)


def _input(value: float, time: float, recent: list[Any]) -> JSON:
    return {"value": value, "time": time, "recent": recent, "future_points": 3}
