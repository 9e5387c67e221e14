"""Build the artefacts of a version from a fitted model and its rows."""

from __future__ import annotations

import numpy as np

from prediction.contract import Resources
from prediction.scoring.data.preparation import ScoringSplit
from prediction.scoring.data.row_cache import hash_texts
from prediction.scoring.embedding.sentence_model import get_sentence_model
from prediction.scoring.model.fitting import ScoringModel
from prediction.scoring.serving.artefacts import (
    ReferenceReport,
    ReferenceReports,
    ScoringArtefacts,
    TrainedSentenceModel,
    keep_newest,
)
from prediction.scoring.serving.similar_reports import MAX_REFERENCE_REPORTS

# New texts embedded in one session; the rest waits for the next one.
MAX_NEW_EMBEDDINGS = 6_000


def build_artefacts(model: ScoringModel, split: ScoringSplit) -> ScoringArtefacts:
    """Return what the version serves from: weights, history and the reports shown as evidence."""
    rows = split.training_set
    reference = _build_reference(split)
    return ScoringArtefacts(
        hyperparameters=split.hyperparameters,
        weights=model.weights,
        timeline=keep_newest(rows.timeline(), split.hyperparameters.neighbours),
        nonconformity=model.nonconformity,
        reference=reference,
        coverage=split.coverage,
        cost=split.cost,
        facts={"sentence_model": _cache_embeddings(reference, split.resources), "rows": len(rows)},
    )


def _build_reference(split: ScoringSplit) -> ReferenceReports:
    rows, reports = split.training_set, split.training_set.reports
    newest = rows.order[-MAX_REFERENCE_REPORTS:].tolist()
    shown: list[ReferenceReport] = [
        {
            "anomaly_id": reports.anomaly_ids[report],
            "description": reports.description[report],
            "date": reports.detected_at[report] or None,
        }
        for report in newest
    ]
    keys = hash_texts(report["description"] for report in shown)
    return ReferenceReports(keys, shown, rows.scores[-MAX_REFERENCE_REPORTS:])


def _cache_embeddings(reference: ReferenceReports, resources: Resources) -> TrainedSentenceModel:
    """Compute embeddings that the cache lacks, of the newest texts first; return facts of the model."""
    model = get_sentence_model(resources)
    facts = model.facts
    if facts is None:
        return {"name": None, "absent": model.absence}
    cache = model.embedding_cache(facts["weights_sha256"], facts["width"])
    _, present = cache.read(reference.keys)
    _, first = np.unique(reference.keys, return_index=True)
    missing = np.sort(first[~present[first]])[-MAX_NEW_EMBEDDINGS:]
    if len(missing):
        texts = [reference.rows[row]["description"] for row in missing.tolist()]
        cache.append(reference.keys[missing], model.load().encode(texts).astype(np.float16))
    return {"name": facts["name"], "weights_sha256": facts["weights_sha256"], "width": facts["width"]}
