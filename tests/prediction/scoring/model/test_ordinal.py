"""Probabilities sum to one, the score is their median, and sets hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prediction.scoring.model.conformal import compute_nonconformity, conformal_quantile, conformal_sets
from prediction.scoring.model.ordinal import cumulative_probabilities, decode_levels, level_probabilities

MARGINS = arrays(np.float32, (4, 12), elements=st.floats(-40, 40, width=32))


@given(MARGINS)
def test_probabilities_are_probabilities_and_the_score_minimises_the_expected_error(
    margins: np.ndarray,
) -> None:
    above = cumulative_probabilities(margins)
    chance, level = level_probabilities(above), decode_levels(above)
    assert (chance >= 0).all()
    np.testing.assert_allclose(chance.sum(axis=2), 1.0)
    places = np.arange(1, 6)
    expected = (np.abs(places[:, None] - places) * chance[:, :, None, :]).sum(axis=3)
    taken = np.take_along_axis(expected, level[:, :, None] - 1, axis=2)[:, :, 0]
    np.testing.assert_allclose(taken, expected.min(axis=2), atol=1e-9)


def test_sets_are_gapless_and_hold_the_score() -> None:
    chance = np.array([[[0.45, 0.05, 0.4, 0.05, 0.05]]])
    held = conformal_sets(chance, np.array([[1]]), [0.7])
    assert held[0, 0].tolist() == [True, True, True, False, False]
    assert conformal_sets(chance, np.array([[4]]), [0.0])[0, 0].tolist() == [False, False, False, True, False]


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_promised_coverage_is_kept_on_exchangeable_reports(coverage: float) -> None:
    random = np.random.default_rng(5)
    chance = random.dirichlet(np.ones(5) * 0.5, size=(4_000, 1))
    truth = np.array([random.choice(5, p=row[0]) + 1 for row in chance], np.float32)[:, None]
    strange = compute_nonconformity(chance[:2_000], truth[:2_000])
    level = chance.argmax(axis=2) + 1
    held = conformal_sets(chance[2_000:], level[2_000:], [conformal_quantile(strange[0], coverage)])
    measured = held[np.arange(2_000), 0, truth[2_000:, 0].astype(int) - 1].mean()
    assert measured >= coverage - 0.03


def test_too_few_reports_rule_nothing_out() -> None:
    assert conformal_quantile(np.array([0.1, 0.2]), 0.9) == 1.0


def test_missing_scores_are_no_evidence_and_halves_go_up() -> None:
    chance = np.array([[[0.1, 0.2, 0.3, 0.2, 0.2]], [[1.0, 0, 0, 0, 0]]])
    assert compute_nonconformity(chance, np.array([[2.5], [np.nan]], np.float32))[
        0
    ].tolist() == pytest.approx([0.7])
