"""Probabilities sum to one, the score is their median, and sets hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prediction.scoring.model.conformal import Nonconformity, compute_nonconformity, conformal_sets
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


def test_a_severe_report_is_rather_scored_too_high() -> None:
    above = np.array([[[0.6, 0.4, 0.4, 0.3]]])
    assert decode_levels(above).tolist() == [[2]]
    assert decode_levels(above, cost=3.0).tolist() == [[5]]
    assert decode_levels(np.array([[[0.6, 0.4, 0.2, 0.2]]]), cost=3.0).tolist() == [[2]]


def test_sets_are_gapless_and_hold_the_score() -> None:
    chance = np.array([[[0.45, 0.05, 0.4, 0.05, 0.05]]])
    held = conformal_sets(chance, np.array([[1]]), [[0.7] * 5])
    assert held[0, 0].tolist() == [True, True, True, False, False]
    none = [[0.0] * 5]
    assert conformal_sets(chance, np.array([[4]]), none)[0, 0].tolist() == [False, False, False, True, False]


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_promised_coverage_is_kept_on_exchangeable_reports_by_level(coverage: float) -> None:
    """A model that finds the rare levels unlikely covers them all the same."""
    random = np.random.default_rng(5)
    chance = random.dirichlet(np.ones(5) * np.array([2, 1, 0.5, 0.3, 0.2]), size=(16_000, 1))
    truth = np.array([random.choice(5, p=row[0]) + 1 for row in chance], np.float32)[:, None]
    chance = chance ** np.array([0.8, 1, 1, 1.2, 1.4])
    chance /= chance.sum(axis=2, keepdims=True)
    half = len(chance) // 2
    limits, uncovered = compute_nonconformity(chance[:half], truth[:half])[0].limits(coverage)
    held = conformal_sets(chance[half:], chance[half:].argmax(axis=2) + 1, [limits])
    true = truth[half:, 0].astype(int) - 1
    covered = held[np.arange(half), 0, true]
    assert uncovered == []
    assert min(covered[true == level].mean() for level in range(5)) >= coverage - 0.05


def test_too_few_reports_rule_nothing_out_and_are_named() -> None:
    few = Nonconformity(np.array([0.1, 0.2]), np.array([1, 1]))
    assert few.limits(0.9) == ([1.0] * 5, [1, 2, 3, 4, 5])


def test_a_level_with_too_few_reports_shares_the_limit_of_all() -> None:
    limits, uncovered = Nonconformity(
        np.linspace(0, 0.99, 100, dtype=np.float32), np.array([1] * 98 + [5] * 2)
    ).limits(0.9)
    assert uncovered == [2, 3, 4, 5]
    assert limits[4] == pytest.approx(0.9)


def test_rare_levels_that_are_harder_are_covered_together_and_named() -> None:
    """One limit for all reports would leave the rare levels out, and with them the promise for all together."""
    random = np.random.default_rng(7)
    levels = np.r_[np.full(200, 1), np.full(15, 4), np.full(15, 5)]
    values = np.where(levels == 1, random.uniform(0, 0.2, 230), random.uniform(0.5, 1, 230))
    limits, uncovered = Nonconformity(values, levels).limits(0.9)
    assert uncovered == [2, 3, 4, 5]
    assert (values[levels >= 4] <= limits[4]).mean() >= 0.9
    assert (values <= np.array(limits)[levels - 1]).mean() >= 0.9


@pytest.mark.parametrize(("rows", "is_covered"), [(19, False), (20, True)])
def test_a_level_needs_twenty_reports_for_a_promise_of_its_own(rows: int, is_covered: bool) -> None:
    levels = np.r_[np.full(100, 1), np.full(rows, 2)]
    _, uncovered = Nonconformity(np.linspace(0, 1, len(levels), dtype=np.float32), levels).limits(0.9)
    assert (2 not in uncovered) is is_covered


def test_missing_scores_are_no_evidence_and_halves_go_up() -> None:
    chance = np.array([[[0.1, 0.2, 0.3, 0.2, 0.2]], [[1.0, 0, 0, 0, 0]]])
    found = compute_nonconformity(chance, np.array([[2.5], [np.nan]], np.float32))[0]
    assert found.values.tolist() == pytest.approx([0.7])
    assert found.levels.tolist() == [3]
