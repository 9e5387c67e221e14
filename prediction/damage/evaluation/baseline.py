"""What a network must beat: the majority class, and a logistic regression on the level of each band."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from prediction.damage.data.preparation import ImageSplit
from prediction.damage.evaluation.metrics import ClassificationMetrics, Numbers, evaluate_probabilities
from prediction.damage.spectrograms.spectrogram import Floats

_INVERSE_PENALTY = 0.1
_MAX_ITERATIONS = 300


def evaluate_baselines(
    train: ImageSplit, test: ImageSplit, classes: int, levels: int
) -> dict[str, ClassificationMetrics]:
    """Measure the majority class and logistic regression on band energies on the test windows.

    Parameters
    ----------
    levels : int
        How many of the images show levels, the first ones: the regression sees these.
    """
    counts = np.bincount(train.targets, minlength=classes)
    majority = np.tile((counts == counts.max()) / (counts == counts.max()).sum(), (len(test), 1))
    # Of several classes that are equally common, one is predicted.
    majority[:, int(counts.argmax())] += 1e-9
    model = fit_logistic(band_energies(train.images[:, :levels]), train.targets)
    logistic = np.zeros((len(test), classes))
    logistic[:, model[-1].classes_] = model.predict_proba(band_energies(test.images[:, :levels]))
    probabilities = {"majority": majority, "band_energies": logistic}
    return {
        name: evaluate_probabilities(rows, test.targets, test.owners) for name, rows in probabilities.items()
    }


def band_energies(images: Floats) -> Numbers:
    """Return the mean level of each band over time, shape (n, images * bands)."""
    levels: Numbers = images.mean(axis=3, dtype=np.float64).reshape(len(images), -1)
    return levels


def fit_logistic(features: Numbers, targets: NDArray[np.int64]) -> Pipeline:
    """Fit logistic regression on standardised features: a scaler, then the regression."""
    regression = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_MAX_ITERATIONS)
    return make_pipeline(StandardScaler(), regression).fit(features, targets)
