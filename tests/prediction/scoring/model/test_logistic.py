"""The batched solver finds what scikit-learn finds, and the same twice."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from prediction.scoring.model.logistic import fit


def problem(rows: int = 300, width: int = 20, questions: int = 4) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(3)
    features = chance.normal(size=(rows, width)).astype(np.float32)
    margins = features @ chance.normal(size=(width, questions))
    return features, (margins + chance.normal(size=margins.shape) > 0).astype(np.float32)


def test_agrees_with_scikit_learn() -> None:
    features, answers = problem()
    start = np.zeros((20, 4), np.float32)
    found = fit(features, answers, np.full_like(answers, 0.5), start, tolerance=1e-5)
    for column in range(4):
        model = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-8).fit(features, answers[:, column])
        np.testing.assert_allclose(found[:, column], model.coef_[0], atol=2e-3)


def test_the_same_twice_bit_for_bit() -> None:
    features, answers = problem()
    start = np.zeros((20, 4), np.float32)
    one, two = (fit(features, answers, np.ones_like(answers), start) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_a_warm_start_leads_to_the_same_place() -> None:
    features, answers = problem()
    cost = np.ones_like(answers)
    cold = fit(features, answers, cost, np.zeros((20, 4), np.float32), tolerance=1e-5)
    begun = fit(features[:250], answers[:250], cost[:250], np.zeros((20, 4), np.float32))
    warm = fit(features, answers, cost, begun, tolerance=1e-5)
    np.testing.assert_allclose(cold, warm, atol=2e-3)


def test_a_settled_fit_is_left_as_it_is() -> None:
    features, answers = problem()
    cost = np.ones_like(answers)
    found = fit(features, answers, cost, np.zeros((20, 4), np.float32), tolerance=1e-3)
    np.testing.assert_array_equal(fit(features, answers, cost, found, tolerance=1e-2), found)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_question_with_one_answer_only(value: float) -> None:
    features, answers = problem(questions=2)
    answers[:, 1] = value
    features[:, 0] = 2.0
    found = fit(features, answers, np.ones_like(answers), np.zeros((20, 2), np.float32))
    assert np.isfinite(found).all()
    assert (((features @ found)[:, 1] > 0) == bool(value)).mean() > 0.95


def test_what_costs_nothing_teaches_nothing() -> None:
    features, answers = problem()
    cost = np.ones_like(answers)
    cost[:100] = 0
    start = np.zeros((20, 4), np.float32)
    some = fit(features[100:], answers[100:], cost[100:], start, tolerance=1e-5)
    np.testing.assert_allclose(fit(features, answers, cost, start, tolerance=1e-5), some, atol=2e-3)
