"""What answers: scores of new reports, from a version's folder. Imports neither torch nor scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prediction.contract import JSON, Predictor, Resources
from prediction.scoring.embedding.sentence_model import sentence_model
from prediction.scoring.features.encoding import Encoded, encode_reports
from prediction.scoring.features.history_features import HistoryFeatures
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.model import ordinal
from prediction.scoring.model.hyperparameters import NUM_LEVELS
from prediction.scoring.serving import artefacts
from prediction.scoring.serving.artefacts import ScoringArtefacts
from prediction.scoring.serving.similar_reports import build_similar_reports
from storage.anomaly_reports.csv_store import SCORES

EVIDENCE_SHOWN = 5


class ScoringPredictor(Predictor):
    """The scoring family's champion in memory; several threads may ask it at once."""

    def __init__(self, state: ScoringArtefacts, resources: Resources) -> None:
        self._state = state
        self._history = HistoryFeatures(state.timeline, state.recipe)
        self._evidence = build_similar_reports(state, sentence_model(resources))

    @classmethod
    def warm_up(cls, resources: Resources) -> None:
        model = sentence_model(resources)
        if model.facts is not None:
            model.load()

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> ScoringPredictor:
        return cls(artefacts.read(folder), resources)

    def predict(self, inputs: Sequence[Any], options: JSON) -> list[JSON]:
        """One answer a report: three scores with probabilities and conformal sets, overall and evidence.

        Options: ``evidence``, how many past reports to show (5; 0 saves the embedding), and ``coverage``, the
        promised share of true levels in the conformal sets (the version's own by default).
        """
        encoded = encode_reports(inputs)
        coverage = float(options.get("coverage", self._state.coverage))
        shown = int(options.get("evidence", EVIDENCE_SHOWN))
        above = self._chances_above(encoded)
        texts = [str(report.get("description") or "") for report in inputs]
        evidence = self._evidence.nearest(texts, encoded, shown)
        scores = self._scores(above, coverage)
        return [
            {"scores": of_report, "overall": _overall(of_report), "evidence": nearest}
            for of_report, nearest in zip(scores, evidence, strict=True)
        ]

    def _chances_above(self, encoded: Encoded) -> Floats:
        past_counts = np.full(len(encoded), self._history.end)
        return ordinal.cumulative_probabilities(
            self._history.features(encoded, past_counts) @ self._state.weights
        )

    def _scores(self, above: Floats, coverage: float) -> list[JSON]:
        chance, level = ordinal.level_probabilities(above), ordinal.decode_levels(above)
        limits = [ordinal.conformal_quantile(strange, coverage) for strange in self._state.strangeness]
        kept = ordinal.conformal_sets(chance, level, limits)
        rounded, chosen = np.round(chance, 6).tolist(), level.tolist()
        return [
            {
                score: {
                    "score": float(chosen[row][column]),
                    "probabilities": {str(n + 1): rounded[row][column][n] for n in range(NUM_LEVELS)},
                    "conformal_set": (np.flatnonzero(kept[row, column]) + 1).tolist(),
                    "coverage": coverage,
                }
                for column, score in enumerate(SCORES)
            }
            for row in range(len(chosen))
        ]


def _overall(scores: JSON) -> float:
    """The mean of the three scores."""
    return float(round(sum(scores[score]["score"] for score in SCORES) / len(SCORES), 2))
