"""Many logistic regressions over the same features at once: Newton's method with conjugate gradients.

The twelve questions share every pass over the features, so that three scores are fitted in the time of one.
See Komarek & Moore, "Making logistic regression a core data mining tool with TR-IRLS" (2005).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features.point_in_time import Floats

MAX_NEWTON_STEPS = 12
MAX_INNER_STEPS = 15
TOLERANCE = 1e-2
"""All questions are settled when their gradients have shrunk to this share of those at zero weights."""

_TINY = np.float32(1e-30)


def fit(
    features: Floats,
    answers: Floats,
    cost: Floats,
    start: Floats,
    tolerance: float = TOLERANCE,
) -> Floats:
    """Minimise ``|w|^2 / 2 + sum(cost * log loss)`` for every question.

    Parameters
    ----------
    features : ndarray of float32, shape (rows, width)
    answers, cost : ndarray of float32, shape (rows, questions)
        Targets from 0 to 1, and what a mistake costs; a missing answer costs nothing.
    start : ndarray of float32, shape (width, questions)
        Where to begin: zeros, or the weights of a similar fit.

    Returns
    -------
    ndarray of float32, shape (width, questions)
        A deterministic function of the arguments.
    """
    problem = _Problem(features, answers, cost)
    place = problem.at(start)
    scale = problem.scale()
    for _ in range(MAX_NEWTON_STEPS):
        gradient = problem.gradient(place)
        left = _norms(gradient) / scale
        unsettled = np.flatnonzero(left >= tolerance)
        if not len(unsettled):
            break
        some, here, slope = problem.chosen(unsettled), place.chosen(unsettled), gradient[:, unsettled]
        step = some.newton_step(here, slope, left[unsettled])
        place.replace(unsettled, some.downhill(here, step, slope))
    return place.weights


@dataclass(frozen=True)
class _Place:
    """Weights with the margins and losses that they make, a column a question."""

    weights: Floats
    margins: Floats
    losses: Floats

    def chosen(self, questions: NDArray[np.intp]) -> _Place:
        return _Place(self.weights[:, questions], self.margins[:, questions], self.losses[questions])

    def replace(self, questions: NDArray[np.intp], other: _Place) -> None:
        self.weights[:, questions] = other.weights
        self.margins[:, questions] = other.margins
        self.losses[questions] = other.losses


class _Problem:
    def __init__(self, features: Floats, answers: Floats, cost: Floats) -> None:
        self._features = features
        self._answers = answers
        self._cost = cost

    def chosen(self, questions: NDArray[np.intp]) -> _Problem:
        return _Problem(self._features, self._answers[:, questions], self._cost[:, questions])

    def at(self, weights: Floats) -> _Place:
        margins = self._features @ weights
        return _Place(weights.copy(), margins, self._losses(weights, margins))

    def scale(self) -> Floats:
        """How large the gradient is at zero weights."""
        return _norms(self._back(self._cost * (np.float32(0.5) - self._answers))) + np.float32(1e-6)

    def gradient(self, place: _Place) -> Floats:
        return place.weights + self._back(self._cost * (_sigmoid(place.margins) - self._answers))

    def newton_step(self, place: _Place, gradient: Floats, left: Floats) -> Floats:
        """Conjugate gradients on the Hessian, to a precision that suits how far each question has come."""
        chance = _sigmoid(place.margins)
        curvature = self._cost * chance * (1 - chance)
        diagonal = 1 + np.square(self._features).T @ curvature  # scales the conjugate gradients
        step, residual = np.zeros_like(gradient), -gradient
        goal = np.minimum(np.float32(0.3), np.sqrt(left)) * _norms(gradient)
        scaled = residual / diagonal
        direction, product = scaled.copy(), (residual * scaled).sum(0)
        for _ in range(MAX_INNER_STEPS):
            active = _norms(residual) > goal
            if not active.any():
                break
            curved = self._curved(direction, curvature)
            length = active * product / ((direction * curved).sum(0) + _TINY)
            step += length * direction
            residual -= length * curved
            scaled = residual / diagonal
            renewed = (residual * scaled).sum(0)
            direction = scaled + (renewed / (product + _TINY)) * direction
            product = renewed
        return step

    def downhill(self, place: _Place, step: Floats, gradient: Floats) -> _Place:
        """Halve the step of every question whose loss has not become smaller."""
        moved, slope = self._features @ step, (gradient * step).sum(0)
        length = np.ones(len(slope), np.float32)
        tried = place
        for _ in range(8):
            weights, margins = place.weights + length * step, place.margins + length * moved
            tried = _Place(weights, margins, self._losses(weights, margins))
            enough = place.losses + np.float32(1e-4) * length * slope + np.float32(1e-5) * place.losses
            poor = tried.losses > enough
            if not poor.any():
                break
            length = np.where(poor, length / 2, length)
        return tried

    def _losses(self, weights: Floats, margins: Floats) -> Floats:
        likelihood = np.logaddexp(np.float32(0), margins) - self._answers * margins
        losses: Floats = (weights * weights).sum(0) / 2 + (self._cost * likelihood).sum(0)
        return losses

    def _back(self, values: Floats) -> Floats:
        summed: Floats = self._features.T @ values
        return summed

    def _curved(self, direction: Floats, curvature: Floats) -> Floats:
        """The Hessian times a direction."""
        return direction + self._back(curvature * (self._features @ direction))


def _sigmoid(margins: Floats) -> Floats:
    return (1.0 / (1.0 + np.exp(-np.clip(margins, -30.0, 30.0)))).astype(np.float32)


def _norms(columns: Floats) -> Floats:
    norms: Floats = np.sqrt((columns * columns).sum(0))
    return norms
