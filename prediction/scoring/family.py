"""The scoring family: implements the training half of the contract."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from prediction.contract import (
    BatchInfluence,
    Champion,
    DataImpact,
    Metric,
    ModelFamily,
    Options,
    ParityProbe,
    Progress,
    RaterAgreement,
    RecordReviewer,
    Resources,
    Scores,
    TrainingSource,
)
from prediction.scoring.data.preparation import PreparedReports, prepare
from prediction.scoring.evaluation.champion import evaluate_champion
from prediction.scoring.evaluation.data_impact import assess_new_data, measure_influence
from prediction.scoring.evaluation.metrics import evaluate
from prediction.scoring.labels.agreement import measure_agreement
from prediction.scoring.labels.review import review_new_records
from prediction.scoring.model.fitting import ScoringModel, fit_held_out, refit_all
from prediction.scoring.serving import downloads
from prediction.scoring.serving.artefacts import ScoringArtefacts, write_artefacts
from prediction.scoring.serving.build import build_artefacts
from prediction.scoring.serving.parity import build_probe
from prediction.scoring.serving.predictor import ScoringPredictor
from storage.filesystem.checked_write import save_json


class ReportReviewer(RecordReviewer[PreparedReports, ScoringModel]):
    """Reviews the scores that new reports bring, and those who gave them."""

    def assess_new_data(
        self, model: ScoringModel, champion: Champion, prepared: PreparedReports, options: Options
    ) -> DataImpact | None:
        return assess_new_data(champion, prepared.split)

    def measure_influence(
        self, champion: Champion, prepared: PreparedReports, options: Options
    ) -> list[BatchInfluence]:
        return measure_influence(champion, prepared.split)

    def review_new_records(
        self, model: ScoringModel, champion: Champion | None, prepared: PreparedReports, options: Options
    ) -> list[str]:
        return review_new_records(prepared.split, model.weights, champion)

    def measure_agreement(self, prepared: PreparedReports) -> list[RaterAgreement]:
        return measure_agreement(prepared.split.training_set, prepared.split.quarantined)


class ScoringFamily(ModelFamily[PreparedReports, ScoringModel]):
    """Availability, fiability and process safety of an anomaly report, from 1 to 5."""

    name: ClassVar[str] = "scoring"
    headline: ClassVar[Metric] = Metric("mae", "levels")
    reviewer = ReportReviewer()

    def warm_up(self, resources: Resources) -> None:
        ScoringPredictor.warm_up(resources)

    def prepare(self, source: TrainingSource, options: Options, resources: Resources) -> PreparedReports:
        return prepare(source, options, resources)

    def fit(self, prepared: PreparedReports, options: Options, progress: Progress) -> ScoringModel:
        return fit_held_out(prepared.split)

    def evaluate(self, model: ScoringModel, prepared: PreparedReports) -> Scores:
        return evaluate(model, prepared.split)

    def evaluate_champion(
        self, champion: Champion, prepared: PreparedReports, options: Options
    ) -> Scores | None:
        return evaluate_champion(champion, fit_held_out(prepared.split), prepared.split)

    def refit(
        self, model: ScoringModel, prepared: PreparedReports, options: Options, progress: Progress
    ) -> ScoringModel:
        refitted = refit_all(model, prepared.split)
        return replace(refitted, artefacts=build_artefacts(refitted, prepared.split))

    def save(self, model: ScoringModel, prepared: PreparedReports, folder: Path) -> None:
        artefacts = _artefacts(model, prepared)
        write_artefacts(artefacts, prepared.split.training_set.keys, folder)
        info = {"downloads": downloads.describe_downloads(), "facts": artefacts.facts}
        save_json(folder / "model_info.json", info)

    def build_probe(self, model: ScoringModel, prepared: PreparedReports) -> ParityProbe:
        return build_probe(_artefacts(model, prepared), prepared.split)

    def download(self, folder: Path, file_name: str, target: Path) -> bool:
        return downloads.write_download(folder, file_name, target)


def _artefacts(model: ScoringModel, prepared: PreparedReports) -> ScoringArtefacts:
    """Return the artefacts that the refit built, or build them for a model that was not refitted."""
    return model.artefacts or build_artefacts(model, prepared.split)
