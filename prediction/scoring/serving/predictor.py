"""Score new reports from a version's folder. Imports neither torch nor scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from prediction.contract import JSON, Predictor, Resources
from prediction.scoring.embedding.sentence_model import get_sentence_model
from prediction.scoring.features.encoding import encode_reports
from prediction.scoring.features.history_features import HistoryFeatures
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.model import conformal, ordinal
from prediction.scoring.model.hyperparameters import NUM_LEVELS
from prediction.scoring.serving.artefacts import ScoringArtefacts, read_artefacts
from prediction.scoring.serving.similar_reports import build_similar_reports
from storage.anomaly_reports.reports import SCORES

EVIDENCE_SHOWN = 5


class ScoreAnswer(TypedDict):
    """The answer for one of the three scores.

    The coverage holds for each level but those in ``uncovered_levels``, of which too few reports are known.
    """

    score: float
    probabilities: dict[str, float]
    conformal_set: list[int]
    coverage: float
    uncovered_levels: list[int]


class ScoringPredictor(Predictor):
    """A version of the scoring model in memory; several threads may call it at once."""

    def __init__(self, artefacts: ScoringArtefacts, resources: Resources) -> None:
        self._artefacts = artefacts
        self._history = HistoryFeatures(artefacts.timeline, artefacts.hyperparameters)
        self._similar = build_similar_reports(artefacts, get_sentence_model(resources))

    @classmethod
    def warm_up(cls, resources: Resources) -> None:
        model = get_sentence_model(resources)
        if model.facts is not None:
            model.load()

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> ScoringPredictor:
        return cls(read_artefacts(folder), resources)

    def predict(self, inputs: Sequence[Any], options: JSON) -> list[JSON]:
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
