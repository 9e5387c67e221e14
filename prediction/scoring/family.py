"""The scoring family: ties preparation, model, judging and artefacts to the contract."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np

from prediction.contract import (
    JSON,
    Champion,
    DataImpact,
    Metric,
    ModelFamily,
    ParityProbe,
    Progress,
    Resources,
    Scores,
)
from prediction.scoring.data import preparation as preparation_module
from prediction.scoring.data.preparation import PreparedReports, ScoringSplit
from prediction.scoring.embedding.sentence_model import hash_texts, sentence_model
from prediction.scoring.evaluation import champion as champion_module
from prediction.scoring.evaluation.metrics import evaluate
from prediction.scoring.features.encoding import TEXT_FIELDS
from prediction.scoring.model.fitting import ScoringModel, fit_held_out, refit_all
from prediction.scoring.serving import artefacts as artefacts_module
from prediction.scoring.serving import downloads
from prediction.scoring.serving.artefacts import ReferenceReports, ScoringArtefacts
from prediction.scoring.serving.predictor import EVIDENCE_SHOWN, ScoringPredictor
from prediction.scoring.serving.similar_reports import MAX_REFERENCE_REPORTS

MAX_NEW_EMBEDDINGS = 6_000
"""New texts embedded in one session; what is left waits for the next one."""

PROBED = 64
SPARE_PROBES = 32
LOOKED_AT = 4 * EVIDENCE_SHOWN
"""Past reports that are looked at to see whether the order of those shown is clear."""
TELLABLE = 1e-4
"""The least distance of two similarities, rounded to five digits, that the order of summation cannot undo."""
CLEARLY = 1e-3
"""A probe leaves out reports whose median lies within this chance of another level."""


class ScoringFamily(ModelFamily[PreparedReports, ScoringModel]):
    """Availability, fiability and process safety of an anomaly report, from 1 to 5."""

    name: ClassVar[str] = "scoring"
    headline: ClassVar[Metric] = Metric("mae", "levels")

    def warm_up(self, resources: Resources) -> None:
        ScoringPredictor.warm_up(resources)

    def prepare(self, source: JSON, options: JSON, resources: Resources) -> PreparedReports:
        return preparation_module.prepare(source, options, resources)

    def fit(self, prepared: PreparedReports, options: JSON, progress: Progress) -> ScoringModel:
        return fit_held_out(prepared.split)

    def evaluate(self, model: ScoringModel, prepared: PreparedReports) -> Scores:
        return evaluate(model, prepared.split)

    def evaluate_champion(
        self, champion: Champion, prepared: PreparedReports, options: JSON
    ) -> Scores | None:
        return champion_module.evaluate_champion(champion, fit_held_out(prepared.split), prepared.split)

    def assess_new_data(
        self, model: ScoringModel, champion: Champion, prepared: PreparedReports, options: JSON
    ) -> DataImpact | None:
        return champion_module.assess_new_data(champion, prepared.split)

    def refit(
        self, model: ScoringModel, prepared: PreparedReports, options: JSON, progress: Progress
    ) -> ScoringModel:
        final = refit_all(model, prepared.split)
        return replace(final, served=build_artefacts(final, prepared))

    def save(self, model: ScoringModel, prepared: PreparedReports, folder: Path) -> None:
        state = model.served or build_artefacts(model, prepared)
        artefacts_module.write(state, prepared.split.chronicle.keys, folder)
        info = {"downloads": downloads.describe_downloads(), "facts": state.facts}
        (folder / "model_info.json").write_text(json.dumps(info, indent=1, ensure_ascii=False))

    def build_probe(self, model: ScoringModel, prepared: PreparedReports) -> ParityProbe:
        """The newest reports, asked again: without evidence where its order is clear for none."""
        study = prepared.split
        state = model.served or build_artefacts(model, prepared)
        predictor = ScoringPredictor(state, study.resources)
        newest = study.chronicle.order[-(PROBED + SPARE_PROBES) :][::-1].tolist()
        inputs = [_input(study, place) for place in newest]
        answers = predictor.predict(inputs, {"evidence": LOOKED_AT})
        decided = [place for place, answer in enumerate(answers) if _scores_are_clear(answer["scores"])]
        ordered = [place for place in decided if _order_is_clear(answers[place]["evidence"])]
        shown = EVIDENCE_SHOWN if ordered else 0
        places = ordered or decided or [0]
        chosen = [places[number % len(places)] for number in range(PROBED)]
        expected = [{**answers[place], "evidence": answers[place]["evidence"][:shown]} for place in chosen]
        return ParityProbe([inputs[place] for place in chosen], expected, options={"evidence": shown})

    def download(self, folder: Path, file_name: str, target: Path) -> bool:
        return downloads.write_download(folder, file_name, target)


def build_artefacts(model: ScoringModel, prepared: PreparedReports) -> ScoringArtefacts:
    """What the version serves: the weights and everything its history and evidence are read from."""
    study = prepared.split
    rows = study.chronicle
    past = _past_reports(study)
    return ScoringArtefacts(
        recipe=study.recipe,
        weights=model.weights,
        timeline=artefacts_module.keep_newest(rows.timeline(), study.recipe.neighbours),
        strangeness=model.strangeness,
        past=past,
        coverage=study.coverage,
        facts={"sentence_model": _embedded(past, study.resources), "rows": len(rows)},
    )


def _past_reports(study: ScoringSplit) -> ReferenceReports:
    rows, reports = study.chronicle, study.chronicle.reports
    places = rows.order[-MAX_REFERENCE_REPORTS:].tolist()
    shown = [
        {
            "anomaly_id": reports.anomaly_ids[place],
            "description": reports.description[place],
            "date": reports.detected_at[place] or None,
        }
        for place in places
    ]
    keys = hash_texts([row["description"] for row in shown])
    return ReferenceReports(keys, shown, rows.scores[-MAX_REFERENCE_REPORTS:])


def _embedded(past: ReferenceReports, resources: Resources) -> JSON:
    """See to it that the texts have embeddings, the newest first; facts of the sentence model."""
    model = sentence_model(resources)
    facts = model.facts
    if facts is None:
        return {"name": None, "absent": model.absence}
    kept = model.kept(facts["weights_sha256"], facts["width"])
    _, known = kept.read(past.keys)
    _, first = np.unique(past.keys, return_index=True)
    missing = np.sort(first[~known[first]])[-MAX_NEW_EMBEDDINGS:]
    if len(missing):
        vectors = model.load().encode([past.rows[place]["description"] for place in missing.tolist()])
        kept.append(past.keys[missing], vectors.astype(np.float16))
    return {name: facts[name] for name in ("name", "weights_sha256", "width")}


def _input(study: ScoringSplit, place: int) -> JSON:
    reports = study.chronicle.reports
    return {field: getattr(reports, field)[place] for field in TEXT_FIELDS}


def _scores_are_clear(scores: JSON) -> bool:
    """No score hangs on the last digits."""
    for told in scores.values():
        above = 1.0 - np.cumsum(list(told["probabilities"].values()))[:-1]
        if np.abs(above - 0.5).min() < CLEARLY:
            return False
    return True


def _order_is_clear(evidence: list[JSON]) -> bool:
    """Which reports are shown, and in which order, does not hang on the last digits.

    Reports of one text stand in the order of their time; between two texts there must be a distance, also
    behind the last report shown.
    """
    for place, (one, other) in enumerate(pairwise(evidence), start=1):
        apart = one["similarity"] - other["similarity"] > TELLABLE
        if apart and place >= EVIDENCE_SHOWN:
            return True
        if not apart and one["description"] != other["description"]:
            return False
    return len(evidence) < LOOKED_AT
