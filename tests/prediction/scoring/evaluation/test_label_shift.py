"""Evidence that new scores follow another rule."""

from __future__ import annotations

import math

import numpy as np

from prediction.scoring.evaluation.label_shift import detect_label_shift

EXPECTED = np.array([[0.6, 0.2, 0.1, 0.05, 0.05], [0.8, 0.1, 0.06, 0.02, 0.02], [0.5, 0.1, 0.1, 0.15, 0.15]])


def test_a_score_that_is_always_low_where_severe_ones_are_expected_has_evidence_of_its_own() -> None:
    """The other scores come as expected, which dilutes the evidence of all rules together."""
    chance = np.random.default_rng(1)
    scores = np.stack([chance.choice(5, 36, p=levels) + 1.0 for levels in EXPECTED], axis=1)
    batches = np.repeat(np.arange(4), 9)
    genuine = detect_label_shift(np.tile(EXPECTED, (36, 1, 1)), scores, list(EXPECTED), batches)
    assert genuine.lacks_severe == {}
    scores[:, 2] = 1.0
    shift = detect_label_shift(np.tile(EXPECTED, (36, 1, 1)), scores, list(EXPECTED), batches)
    assert list(shift.lacks_severe) == ["process_safety"]
    assert shift.lacks_severe["process_safety"] > max(shift.log_e_value, math.log(1_000))
