"""Fit what a network must beat: the majority class, and a logistic regression on the level of each band."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prediction.damage.data.preparation import ImageSplit
from prediction.damage.evaluation.metrics import ClassificationMetrics, evaluate_probabilities, softmax
from prediction.damage.model.rules import BAND_ENERGIES, MAJORITY, LinearRule, Numbers, band_energies

_INVERSE_PENALTY = 0.1
_MAX_ITERATIONS = 300


def fit_rules(train: ImageSplit, classes: int, levels: int) -> dict[str, LinearRule]:
    """Fit the simple rules to the training windows, by name.

    Parameters
    ----------
    levels : int
        How many of the images show levels, the first ones: the regression sees these.
    """
    energies = band_energies(train.images[:, :levels])
    counts = np.bincount(train.targets, minlength=classes)
    # Of several classes that are equally common, the first one is predicted.
    # exp(-30) is no chance worth naming, and finite.
    majority = np.where(counts == counts.max(), 0.0, -30.0)
    majority[int(counts.argmax())] += 1e-6
    return {
        MAJORITY: LinearRule(np.zeros((classes, energies.shape[1])), majority, levels),
        BAND_ENERGIES: LinearRule(*fit_logistic(energies, train.targets), levels),
    }


def evaluate_rule(rule: LinearRule, test: ImageSplit) -> ClassificationMetrics:
    """Measure a rule on the test windows."""
    return evaluate_probabilities(softmax(rule(test.images)), test.targets, test.owners)


def fit_logistic(features: Numbers, targets: NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """Fit logistic regression as weights ``(classes, features)`` and bias ``(classes,)`` of logits."""
    regression = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_MAX_ITERATIONS)
    scaler, model = make_pipeline(StandardScaler(), regression).fit(features, targets)
    weights = model.coef_ / scaler.scale_
    bias = model.intercept_ - weights @ scaler.mean_
    if len(weights) == 1:  # Of two classes scikit-learn stores the second one's side only.
        return np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return weights, bias
