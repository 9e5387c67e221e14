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
    Harm,
    Metric,
    ModelFamily,
    Prepared,
    Probe,
    Progress,
    Resources,
    Scores,
)
from prediction.scoring import downloads, judging, prepare, served
from prediction.scoring.embedding import sentence_model, text_keys
from prediction.scoring.encoding import TEXT_FIELDS
from prediction.scoring.evidence import MOST_SHOWN
from prediction.scoring.model import ScoringModel, judged, refitted
from prediction.scoring.predictor import EVIDENCE_SHOWN, ScoringPredictor
from prediction.scoring.prepare import Study
from prediction.scoring.quality import measured
from prediction.scoring.served import PastReports, Served

MOST_EMBEDDED = 6_000
"""New texts embedded in one session; what is left waits for the next one."""

PROBED = 64
SPARE_PROBES = 32
LOOKED_AT = 4 * EVIDENCE_SHOWN
"""Past reports that are looked at to see whether the order of those shown is clear."""
TELLABLE = 1e-4
"""The least distance of two similarities, rounded to five digits, that the order of summation cannot undo."""
CLEARLY = 1e-3
"""A probe leaves out reports whose median lies within this chance of another level."""


class ScoringFamily(ModelFamily):
    """Availability, fiability and process safety of an anomaly report, from 1 to 5."""

    name: ClassVar[str] = "scoring"
    headline: ClassVar[Metric] = Metric("mae", "levels")

    def warm_up(self, resources: Resources) -> None:
        ScoringPredictor.warm_up(resources)

    def prepare(self, source: JSON, options: JSON, resources: Resources) -> Prepared:
        return prepare.prepare(source, options, resources)

    def fit(self, prepared: Prepared, options: JSON, progress: Progress) -> ScoringModel:
        return judged(prepared.train)

    def evaluate(self, model: ScoringModel, prepared: Prepared) -> Scores:
        return measured(model, prepared.test)

    def evaluate_champion(self, champion: Champion, prepared: Prepared, options: JSON) -> Scores | None:
        return judging.champion_scores(champion, judged(prepared.train), prepared.train)

    def harm(self, model: ScoringModel, champion: Champion, prepared: Prepared, options: JSON) -> Harm | None:
        return judging.harm_of_new_rows(champion, prepared.train)

    def refit(
        self, model: ScoringModel, prepared: Prepared, options: JSON, progress: Progress
    ) -> ScoringModel:
        final = refitted(model, prepared.train)
        return replace(final, served=served_state(final, prepared))

    def save(self, model: ScoringModel, prepared: Prepared, folder: Path) -> None:
        state = model.served or served_state(model, prepared)
        served.write(state, prepared.train.chronicle.keys, folder)
        info = {"downloads": downloads.description(), "facts": state.facts}
        (folder / "model_info.json").write_text(json.dumps(info, indent=1, ensure_ascii=False))

    def probe(self, model: ScoringModel, prepared: Prepared) -> Probe:
        """The newest reports, asked again: without evidence where its order is clear for none."""
        study: Study = prepared.train
        state = model.served or served_state(model, prepared)
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
        return Probe([inputs[place] for place in chosen], expected, options={"evidence": shown})

    def download(self, folder: Path, file_name: str, target: Path) -> bool:
        return downloads.write_download(folder, file_name, target)


def served_state(model: ScoringModel, prepared: Prepared) -> Served:
    """What the version serves: the weights and everything its history and evidence are read from."""
    study: Study = prepared.train
    rows = study.chronicle
    past = _past_reports(study)
    return Served(
        recipe=study.recipe,
        weights=model.weights,
        timeline=served.newest(rows.timeline(), study.recipe.neighbours),
        strangeness=model.strangeness,
        past=past,
        coverage=study.coverage,
        facts={"sentence_model": _embedded(past, study.resources), "rows": len(rows)},
    )


def _past_reports(study: Study) -> PastReports:
    rows, reports = study.chronicle, study.chronicle.reports
    places = rows.order[-MOST_SHOWN:].tolist()
    shown = [
        {
            "anomaly_id": reports.anomaly_ids[place],
            "description": reports.description[place],
            "date": reports.detected_at[place] or None,
        }
        for place in places
    ]
    keys = text_keys([row["description"] for row in shown])
    return PastReports(keys, shown, rows.scores[-MOST_SHOWN:])


def _embedded(past: PastReports, resources: Resources) -> JSON:
    """See to it that the texts have embeddings, the newest first; facts of the sentence model."""
    model = sentence_model(resources)
    facts = model.facts
    if facts is None:
        return {"name": None, "absent": model.absence}
    kept = model.kept(facts["weights_sha256"], facts["width"])
    _, known = kept.read(past.keys)
    _, first = np.unique(past.keys, return_index=True)
    missing = np.sort(first[~known[first]])[-MOST_EMBEDDED:]
    if len(missing):
        vectors = model.load().encode([past.rows[place]["description"] for place in missing.tolist()])
        kept.append(past.keys[missing], vectors.astype(np.float16))
    return {name: facts[name] for name in ("name", "weights_sha256", "width")}


def _input(study: Study, place: int) -> JSON:
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
