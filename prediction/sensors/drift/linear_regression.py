"""Least squares for many sensors at once: one batched solution instead of a fit a sensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Lines:
    """Linear regressions with intercept, one a row.

    Parameters
    ----------
    weights : float64, shape (models, features)
    intercepts : float64, shape (models,)
    """

    weights: Array
    intercepts: Array

    def predict(self, rows: Array) -> Array:
        """Answers, shape (models, n), for ``rows`` of shape (models, n, features)."""
        answers: Array = np.einsum("mnf,mf->mn", rows, self.weights) + self.intercepts[:, None]
        return answers


def fit(rows: Array, targets: Array, known: Array | None = None) -> Lines:
    """Ordinary least squares of every model, the shortest solution where columns depend on each other.

    Parameters
    ----------
    rows : float64, shape (models, n, features)
    targets : float64, shape (models, n)
    known : bool, shape (models, n), optional
        Which rows count; the others may hold anything finite.

    Returns
    -------
    Lines
        As ``sklearn.linear_model.LinearRegression`` fits one by one.
    """
    weight = np.ones(targets.shape) if known is None else known.astype(np.float64)
    count = np.maximum(weight.sum(axis=1), 1.0)
    row_mean = np.einsum("mnf,mn->mf", rows, weight) / count[:, None]
    target_mean = np.einsum("mn,mn->m", targets, weight) / count
    centred = (rows - row_mean[:, None]) * weight[:, :, None]
    spread = np.sqrt(np.einsum("mnf,mnf->mf", centred, centred))
    scale = np.where(spread > 1e-12 * (1.0 + np.abs(row_mean)), spread, 1.0)
    scaled = np.where((spread == scale)[:, None], centred / scale[:, None], 0.0)
    gram = np.einsum("mnf,mng->mfg", scaled, scaled)
    moment = np.einsum("mnf,mn->mf", scaled, (targets - target_mean[:, None]) * weight)
    solved = np.einsum("mfg,mg->mf", np.linalg.pinv(gram, rcond=1e-12, hermitian=True), moment)
    weights = solved / scale
    return Lines(weights, target_mean - np.einsum("mf,mf->m", weights, row_mean))
