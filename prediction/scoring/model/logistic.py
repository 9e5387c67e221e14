"""Fit many logistic regressions on the same features at once: Newton's method with conjugate gradients.

The twelve targets share every pass over the features, so that three scores are fitted in the time of one;
scikit-learn fits one at a time, takes no fractional targets and would have to be imported by every training.
See Komarek & Moore, "Making logistic regression a core data mining tool with TR-IRLS" (2005).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features.point_in_time import Floats

MAX_NEWTON_STEPS = 12
MAX_INNER_STEPS = 15
MAX_HALVINGS = 8
# A target has converged when its gradient has shrunk to this share of that at zero weights.
TOLERANCE = 1e-2

_EPSILON = np.float32(1e-30)


def fit(
    features: Floats,
    targets: Floats,
    cost: Floats,
    start: Floats,
    tolerance: float = TOLERANCE,
) -> Floats:
    """Minimise ``|w|^2 / 2 + sum(cost * log loss)`` for every target.

    Parameters
    ----------
    features : ndarray of float32, shape (rows, width)
    targets, cost : ndarray of float32, shape (rows, targets)
        Targets from 0 to 1, and the weight of each; a missing target has no weight.
    start : ndarray of float32, shape (width, targets)
        Where to begin: zeros, or the weights of a similar fit.

    Returns
    -------
    ndarray of float32, shape (width, targets)
        A deterministic function of the arguments.
    """
    objective = _Objective(features, targets, cost)
    state = objective.state_at(start)
    scale = objective.scale()
    for _ in range(MAX_NEWTON_STEPS):
        gradient = objective.gradient(state)
        remaining = _norms(gradient) / scale
        active = np.flatnonzero(remaining >= tolerance)
        if not len(active):
            break
        part, here, slope = objective.select(active), state.select(active), gradient[:, active]
        step = part.newton_step(here, slope, remaining[active])
        state.update(active, part.line_search(here, step, slope))
    return state.weights


@dataclass(frozen=True)
class _State:
    """Weights with the margins and losses they give, a column a target."""

    weights: Floats
    margins: Floats
    losses: Floats

    def select(self, columns: NDArray[np.intp]) -> _State:
        return _State(self.weights[:, columns], self.margins[:, columns], self.losses[columns])

    def update(self, columns: NDArray[np.intp], state: _State) -> None:
        self.weights[:, columns] = state.weights
        self.margins[:, columns] = state.margins
        self.losses[columns] = state.losses


class _Objective:
    def __init__(self, features: Floats, targets: Floats, cost: Floats) -> None:
        self._features = features
        self._targets = targets
        self._cost = cost

    def select(self, columns: NDArray[np.intp]) -> _Objective:
        return _Objective(self._features, self._targets[:, columns], self._cost[:, columns])

    def state_at(self, weights: Floats) -> _State:
        margins = self._features @ weights
        return _State(weights.copy(), margins, self._losses(weights, margins))

    def scale(self) -> Floats:
        """Return the norm of the gradient at zero weights."""
        at_zero = self._features.T @ (self._cost * (np.float32(0.5) - self._targets))
        return _norms(at_zero) + np.float32(1e-6)

    def gradient(self, state: _State) -> Floats:
        residuals = self._cost * (_sigmoid(state.margins) - self._targets)
        gradient: Floats = state.weights + self._features.T @ residuals
        return gradient

    def newton_step(self, state: _State, gradient: Floats, remaining: Floats) -> Floats:
        """Solve for the Newton step by conjugate gradients, the more exactly the nearer a target's optimum."""
        probability = _sigmoid(state.margins)
        curvature = self._cost * probability * (1 - probability)
        diagonal = 1 + np.square(self._features).T @ curvature  # preconditioner
        step, residual = np.zeros_like(gradient), -gradient
        goal = np.minimum(np.float32(0.3), np.sqrt(remaining)) * _norms(gradient)
        scaled = residual / diagonal
        direction, product = scaled.copy(), (residual * scaled).sum(0)
        for _ in range(MAX_INNER_STEPS):
            active = _norms(residual) > goal
            if not active.any():
                break
            # The Hessian times the direction.
            curved = direction + self._features.T @ (curvature * (self._features @ direction))
            length = active * product / ((direction * curved).sum(0) + _EPSILON)
            step += length * direction
            residual -= length * curved
            scaled = residual / diagonal
            next_product = (residual * scaled).sum(0)
            direction = scaled + (next_product / (product + _EPSILON)) * direction
            product = next_product
        return step

    def line_search(self, state: _State, step: Floats, gradient: Floats) -> _State:
        """Take the step, halved for every target whose loss does not fall enough."""
        change, slope = self._features @ step, (gradient * step).sum(0)
        length = np.ones(len(slope), np.float32)
        candidate = state
        for _ in range(MAX_HALVINGS):
            weights, margins = state.weights + length * step, state.margins + length * change
            candidate = _State(weights, margins, self._losses(weights, margins))
            # The last term allows for rounding in float32 once a target has nearly converged.
            limit = state.losses + np.float32(1e-4) * length * slope + np.float32(1e-5) * state.losses
            too_high = candidate.losses > limit
            if not too_high.any():
                break
            length = np.where(too_high, length / 2, length)
        return candidate

    def _losses(self, weights: Floats, margins: Floats) -> Floats:
        likelihood = np.logaddexp(np.float32(0), margins) - self._targets * margins
        losses: Floats = (weights * weights).sum(0) / 2 + (self._cost * likelihood).sum(0)
        return losses


def _sigmoid(margins: Floats) -> Floats:
    return (1.0 / (1.0 + np.exp(-np.clip(margins, -30.0, 30.0)))).astype(np.float32)


def _norms(columns: Floats) -> Floats:
    norms: Floats = np.sqrt((columns * columns).sum(0))
    return norms
