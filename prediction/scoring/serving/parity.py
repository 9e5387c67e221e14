"""Choose inputs whose answers do not depend on the last digits, to check a saved copy with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from prediction.contract import ParityProbe
from prediction.scoring.data.preparation import ScoringSplit
from prediction.scoring.features.encoding import TEXT_FIELDS
from prediction.scoring.model.ordinal import decision_thresholds
from prediction.scoring.serving.artefacts import ScoringArtefacts, SimilarReport
from prediction.scoring.serving.predictor import EVIDENCE_SHOWN, ScoreAnswer, ScoringPredictor

PROBE_SIZE = 64
SPARE_PROBES = 32
# Past reports that are compared to see whether the order of those shown is clear.
NUM_CANDIDATES = 4 * EVIDENCE_SHOWN
# Similarities are rounded to five digits; the order of summation changes less than this.
MIN_SIMILARITY_GAP = 1e-4
# A probe leaves out reports whose score is within this probability of another level.
MIN_THRESHOLD_GAP = 1e-3


def build_probe(artefacts: ScoringArtefacts, split: ScoringSplit) -> ParityProbe:
    """Return the newest reports with the model's answers, without evidence where no order of it is clear."""
    reports = split.training_set.reports
    newest = split.training_set.order[-(PROBE_SIZE + SPARE_PROBES) :][::-1].tolist()
    inputs = [{field: getattr(reports, field)[report] for field in TEXT_FIELDS} for report in newest]
    answers = ScoringPredictor(artefacts, split.resources).predict(
        inputs, {"similar_reports": NUM_CANDIDATES}
    )
    clear = [row for row, answer in enumerate(answers) if _are_scores_clear(answer["scores"], artefacts.cost)]
    ordered = [row for row in clear if _is_order_clear(answers[row]["similar_reports"])]
    shown = EVIDENCE_SHOWN if ordered else 0
    candidates = ordered or clear or [0]
    rows = [candidates[number % len(candidates)] for number in range(PROBE_SIZE)]
    expected = [{**answers[row], "similar_reports": answers[row]["similar_reports"][:shown]} for row in rows]
    return ParityProbe([inputs[row] for row in rows], expected, options={"similar_reports": shown})


def _are_scores_clear(scores: Mapping[str, ScoreAnswer], cost: float) -> bool:
    """Return whether no score depends on the last digits."""
    for answer in scores.values():
        above = 1.0 - np.cumsum(list(answer["probabilities"].values()))[:-1]
        if np.abs(above - decision_thresholds(cost)).min() < MIN_THRESHOLD_GAP:
            return False
    return True


def _is_order_clear(evidence: Sequence[SimilarReport]) -> bool:
    """Return whether the reports shown, and their order, do not depend on the last digits.

    Reports of one text are in the order of their time; between two texts there must be a gap, also after the
    last report shown.
    """
    for rank, (nearer, farther) in enumerate(pairwise(evidence), start=1):
        has_gap = nearer["similarity"] - farther["similarity"] > MIN_SIMILARITY_GAP
        if has_gap and rank >= EVIDENCE_SHOWN:
            return True
        if not has_gap and nearer["description"] != farther["description"]:
            return False
    return len(evidence) < NUM_CANDIDATES
