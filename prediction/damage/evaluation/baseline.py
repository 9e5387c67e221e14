"""What a network must beat: how strong each band is, and a logistic regression on that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from prediction.damage.data.preparation import ImageSplit
from prediction.damage.evaluation.metrics import ClassificationMetrics, Numbers, evaluate_probabilities
from prediction.damage.spectrograms.spectrogram import Floats

_STRENGTH = 0.1
_MOST_ROUNDS = 300


def baselines(
    train: ImageSplit, test: ImageSplit, classes: int, levels: int
) -> dict[str, ClassificationMetrics]:
    """The majority class and logistic regression on band energies, measured on the test windows.

    Parameters
    ----------
    levels : int
        How many of the images show levels, the first ones: the regression sees these.
    """
    counts = np.bincount(train.targets, minlength=classes)
    majority = np.tile((counts == counts.max()) / (counts == counts.max()).sum(), (len(test), 1))
    majority[:, int(counts.argmax())] += 1e-9
    told = {"majority": majority, "band_energies": _logistic(train, test, classes, levels)}
    return {
        name: evaluate_probabilities(chances, test.targets, test.owners) for name, chances in told.items()
    }


def band_energies(images: Floats) -> Numbers:
    """Mean level of each band over time, shape (n, images * bands)."""
    levels: Numbers = images.mean(axis=3, dtype=np.float64).reshape(len(images), -1)
    return levels


def fit_logistic(features: Numbers, targets: NDArray[np.int64]) -> Pipeline:
    """Logistic regression on standardised features: a scaler, then the regression."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=_MOST_ROUNDS))
    return model.fit(features, targets)


def _logistic(train: ImageSplit, test: ImageSplit, classes: int, levels: int) -> Numbers:
    model = fit_logistic(band_energies(train.images[:, :levels]), train.targets)
    chances: Numbers = np.zeros((len(test), classes))
    chances[:, model[-1].classes_] = model.predict_proba(band_energies(test.images[:, :levels]))
    return chances
