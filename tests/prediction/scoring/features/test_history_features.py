"""No label of a report or of its future reaches its features, and requests see what training rows saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prediction.scoring.features.encoding import encode_reports
from prediction.scoring.features.history_features import (
    NUM_FEATURES,
    HistoryFeatures,
    ReportTimeline,
    encode_targets,
)
from prediction.scoring.model.hyperparameters import NUM_TARGETS, ScoringHyperparameters
from prediction.scoring.serving.artefacts import keep_newest
from tests.prediction.scoring.plant import records

HYPERPARAMETERS = ScoringHyperparameters()
ENCODED = encode_reports(records(60))
SCORES = np.random.default_rng(0).integers(1, 6, (60, 3)).astype(np.float32)


def features(scores: np.ndarray, hyperparameters: ScoringHyperparameters = HYPERPARAMETERS) -> np.ndarray:
    past_counts = np.arange(60)
    known = ReportTimeline(ENCODED["groups"], scores, ENCODED)
    return HistoryFeatures(known, hyperparameters, min_past_count=0).compute(ENCODED, past_counts)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 59), st.lists(st.integers(1, 5), min_size=3, max_size=3))
def test_features_never_see_their_own_label_or_a_later_one(row: int, scores: list[int]) -> None:
    changed = SCORES.copy()
    changed[row:] = scores
    np.testing.assert_array_equal(features(SCORES)[: row + 1], features(changed)[: row + 1])


def test_features_do_see_the_past() -> None:
    changed = SCORES.copy()
    changed[0] = 6 - changed[0]
    assert not np.array_equal(features(SCORES)[1:], features(changed)[1:])


def test_reports_of_one_moment_do_not_see_each_other() -> None:
    known = ReportTimeline(ENCODED["groups"], SCORES, ENCODED)
    together = HistoryFeatures(known, HYPERPARAMETERS, min_past_count=0).compute(
        ENCODED, np.zeros(60, np.int64)
    )
    nothing = ReportTimeline(ENCODED["groups"][:0], SCORES[:0], ENCODED[:0])
    alone = HistoryFeatures(nothing, HYPERPARAMETERS).compute(ENCODED, np.zeros(60, np.int64))
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("row", [1, 17, 59])
def test_a_request_sees_what_a_training_row_of_that_moment_saw(row: int) -> None:
    past = ReportTimeline(ENCODED["groups"], SCORES, ENCODED).until(row)
    asked = HistoryFeatures(past, HYPERPARAMETERS).compute(ENCODED[[row]], np.array([row]))
    np.testing.assert_allclose(asked[0], features(SCORES)[row], atol=2e-5)


def test_a_shorter_reach_needs_only_the_newest_reports_in_full() -> None:
    hyperparameters = replace(HYPERPARAMETERS, neighbours=20)
    known = ReportTimeline(ENCODED["groups"], SCORES, ENCODED)
    full = HistoryFeatures(known, hyperparameters).compute(ENCODED[:5], np.full(5, 60))
    short = HistoryFeatures(keep_newest(known, 20), hyperparameters).compute(ENCODED[:5], np.full(5, 60))
    np.testing.assert_allclose(full, short, atol=2e-5)
    assert full.shape == (5, NUM_FEATURES)


def test_answers_of_whole_half_and_missing_scores() -> None:
    targets = encode_targets(np.array([[1.0, 2.5, np.nan]], np.float32))[0]
    assert targets[:NUM_TARGETS].tolist() == [0, 0, 0, 0, 1, 0.5, 0, 0, 0, 0, 0, 0]
    assert targets[NUM_TARGETS:].tolist() == [1, 1, 0]
