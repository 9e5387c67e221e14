"""Score new reports from a version's folder. Imports neither torch nor scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self, TypedDict

import numpy as np

from prediction.contract import Options, Predictor, Resources
from prediction.scoring.embedding.sentence_model import get_sentence_model
from prediction.scoring.features.encoding import encode_reports
from prediction.scoring.features.history_features import HistoryFeatures
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.model import conformal, ordinal
from prediction.scoring.model.hyperparameters import NUM_LEVELS
from prediction.scoring.serving.artefacts import ScoringArtefacts, SimilarReport, read_artefacts
from prediction.scoring.serving.similar_reports import (
    build_similar_reports,
    complete_embeddings,
    count_missing,
)
from storage.anomaly_reports.reports import SCORES

EVIDENCE_SHOWN = 5
# Texts whose embeddings are computed at once while the server answers: a fraction of a second of one core.
MAX_REBUILT_TEXTS = 64


class ScoreAnswer(TypedDict):
    """The answer for one of the three scores.

    The coverage holds for all levels together, and for each but those in ``uncovered_levels``, of which too few
    reports are known.
    """

    score: float
    probabilities: dict[str, float]
    conformal_set: list[int]
    coverage: float
    uncovered_levels: list[int]


class ScoringPrediction(TypedDict):
    """The answer to one report, with the past reports that it is checked with."""

    scores: dict[str, ScoreAnswer]
    mean_score: float
    similar_reports: list[SimilarReport]


class ScoringPredictor(Predictor[Mapping[str, object], ScoringPrediction]):
    """A version of the scoring model in memory; several threads may call it at once."""

    def __init__(self, artefacts: ScoringArtefacts, resources: Resources) -> None:
        self._artefacts = artefacts
        self._history = HistoryFeatures(artefacts.timeline, artefacts.hyperparameters)
        self._sentence_model = get_sentence_model(resources)
        self._similar = build_similar_reports(artefacts, self._sentence_model)

    @classmethod
    def warm_up(cls, resources: Resources) -> None:
        model = get_sentence_model(resources)
        if model.facts is not None:
            model.load()

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> Self:
        return cls(read_artefacts(folder), resources)

    def predict(self, inputs: Sequence[Mapping[str, object]], options: Options) -> list[ScoringPrediction]:
        """Return one answer a report: three scores with probabilities and conformal sets, and evidence.

        Options: ``evidence``, how many past reports to show (5; 0 saves the embedding), and ``coverage``, the
        promised share of true levels in the conformal sets (the version's own by default).
        """
        encoded = encode_reports(inputs)
        coverage = float(options.get("coverage", self._artefacts.coverage))
        texts = [str(report.get("description") or "") for report in inputs]
        evidence = self._similar.nearest(texts, encoded, int(options.get("similar_reports", EVIDENCE_SHOWN)))
        past_counts = np.full(len(encoded), self._history.end)
        features = self._history.compute(encoded, past_counts)
        above = ordinal.cumulative_probabilities(features @ self._artefacts.weights)
        return [
            {
                "scores": scores,
                "mean_score": round(sum(scores[score]["score"] for score in SCORES) / len(SCORES), 2),
                "similar_reports": nearest,
            }
            for scores, nearest in zip(self._answer_scores(above, coverage), evidence, strict=True)
        ]

    def limitation(self) -> str:
        """Return why similar reports are found by the letters of their texts, or among a part of them only."""
        return self._similar.limitation

    def rebuild(self, may_compute: bool) -> bool:
        """Compute embeddings that were lost with the cache: those of the newest reports first."""
        computed = 0
        if may_compute:
            computed = complete_embeddings(self._artefacts, self._sentence_model, MAX_REBUILT_TEXTS)
        if count_missing(self._artefacts, self._sentence_model):
            return computed > 0
        self._similar = build_similar_reports(self._artefacts, self._sentence_model)
        return False

    @classmethod
    def agrees(cls, answer: ScoringPrediction, other: ScoringPrediction) -> bool:
        """Return whether all three scores are equal."""
        return all(answer["scores"][score]["score"] == other["scores"][score]["score"] for score in SCORES)

    def find_evidence(self, inputs: Sequence[Mapping[str, object]]) -> list[list[SimilarReport]]:
        """Return the most similar past reports of each report."""
        texts = [str(report.get("description") or "") for report in inputs]
        return self._similar.nearest(texts, encode_reports(inputs), EVIDENCE_SHOWN)

    def _answer_scores(self, above: Floats, coverage: float) -> list[dict[str, ScoreAnswer]]:
        probabilities, levels = (
            ordinal.level_probabilities(above),
            ordinal.decode_levels(above, self._artefacts.cost),
        )
        limits, uncovered = zip(*(n.limits(coverage) for n in self._artefacts.nonconformity), strict=True)
        sets = conformal.conformal_sets(probabilities, levels, limits)
        rounded, medians = np.round(probabilities, 6).tolist(), levels.tolist()
        return [
            {
                score: {
                    "score": float(medians[row][column]),
                    "probabilities": {str(n + 1): rounded[row][column][n] for n in range(NUM_LEVELS)},
                    "conformal_set": (np.flatnonzero(sets[row, column]) + 1).tolist(),
                    "coverage": coverage,
                    "uncovered_levels": uncovered[column],
                }
                for column, score in enumerate(SCORES)
            }
            for row in range(len(medians))
        ]
