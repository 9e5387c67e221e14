"""The parts of a detector: each turns rows into residuals, and residuals into statistics that grow with a fault.

A residual vector r is judged by the quadratic form r' M r. Its reconstruction-based contributions (Alcala and Qin,
Automatica 2009) are (M r)_i^2 / M_ii: by how much the form falls when channel i alone is corrected. With M the inverse
covariance that is the squared error of channel i predicted from all others, in units of its variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from prediction.equipment.model.rows import Floats, NormalisedRows, smooth, stack_past

# One row, a few rows, and a day's work of rows: spikes, faults, slow changes.
SPANS: Final = (1, 8, 32)
LAGS: Final = 2
# Beyond so many standard deviations a value is wrong, however far; one value must not fill the averages for long.
MAX_DEVIATION: Final = 10.0
# Shrinkage of covariances towards independent channels. Chosen on the training runs of Tennessee Eastman.
_SHRINKAGE: Final = 0.02
# Ridge penalty for each predictor of an autoregression, in rows. Chosen likewise.
_PENALTY_ROWS: Final = 2.0


@dataclass(frozen=True)
class Part:
    """One way to judge rows.

    Parameters
    ----------
    name : str
        For people, such as ``T2``.
    centre : shape (channels,)
        Mean of the z-scores in training.
    precision : shape (channels, channels)
        The matrix M of the quadratic form.
    weights : shape (lags * channels, channels)
        Predict a row from those before it; no rows where the part looks at single rows.
    usual : float
        Mean of the quadratic form in training.
    forms : tuple of str
        ``sum`` (of all channels), ``max`` (the worst channel) and ``spread`` (more variation than usual).
    spans : tuple of int
        Rows that moving averages of residuals reach over.
    """

    name: str
    centre: Floats
    precision: Floats
    weights: Floats
    usual: float
    forms: tuple[str, ...]
    spans: tuple[int, ...]

    @property
    def statistics(self) -> list[tuple[int, str]]:
        """Return the span and form of each statistic, in their order."""
        return [
            (span, form) for span in self.spans for form in self.forms if not (span == 1 and form == "spread")
        ]

    def residuals(self, rows: NormalisedRows) -> Floats:
        """Return what the part cannot explain of each row, shape (n, channels)."""
        deviations = clip(rows.values - self.centre)
        if not len(self.weights):
            return deviations
        past = stack_past(deviations, rows.starts, len(self.weights) // deviations.shape[1])
        return clip(deviations - past @ self.weights)

    def compute(self, rows: NormalisedRows) -> Floats:
        """Return the statistics of each row, shape (n, statistics)."""
        residuals = self.residuals(rows)
        single = np.asarray(((residuals @ self.precision) * residuals).sum(axis=1))
        columns = []
        for span in self.spans:
            averages = smooth(residuals, rows.starts, span)
            projected = averages @ self.precision
            for form in self.forms:
                if form == "sum":
                    columns.append(np.sqrt(np.maximum((projected * averages).sum(axis=1), 0.0)))
                elif form == "max":
                    columns.append((np.abs(projected) / self._scale).max(axis=1))
                elif span > 1:
                    excess = (single / self.usual - 1.0)[:, None]
                    columns.append(smooth(excess, rows.starts, span)[:, 0])
        return np.column_stack(columns)

    def contributions(self, rows: NormalisedRows, span: int, form: str) -> Floats:
        """Return the contribution of each channel to a statistic, shape (n, channels)."""
        residuals = self.residuals(rows)
        if form == "spread":
            return smooth((residuals @ self.precision / self._scale) ** 2, rows.starts, span)
        projected = smooth(residuals, rows.starts, span) @ self.precision
        if span == 1 or not len(self.weights):
            return np.asarray((projected / self._scale) ** 2)
        # A fault that lasts shows in the residuals of an autoregression less the part that it predicts itself.
        count = len(self.precision)
        lasting = np.eye(count) - self.weights.reshape(-1, count, count).sum(axis=0)
        along = projected @ lasting.T
        size = np.maximum(((lasting @ self.precision) * lasting).sum(axis=1), 1e-12)
        return np.asarray(along**2 / size)

    @property
    def _scale(self) -> Floats:
        scale: Floats = np.sqrt(np.maximum(np.diag(self.precision), 1e-12))
        return scale


def clip(values: Floats) -> Floats:
    """Limit deviations."""
    limited: Floats = np.clip(values, -MAX_DEVIATION, MAX_DEVIATION)
    return limited


def fit_parts(algorithm: str, rows: NormalisedRows) -> list[Part]:
    """Fit the parts of an algorithm, or of a baseline, to rows of normal running time."""
    centre = rows.values.mean(axis=0)
    deviations = clip(rows.values - centre)
    if algorithm in ("pca", "pca_t2"):
        return _fit_pca(centre, deviations, with_residual=algorithm == "pca")
    if algorithm == "ridge":
        return [_make_part("ridge", centre, deviations, _invert(deviations))]
    if algorithm == "autoregression":
        past = stack_past(deviations, rows.starts, LAGS)
        penalty = _PENALTY_ROWS * past.shape[1] * np.eye(past.shape[1])
        weights = np.linalg.solve(past.T @ past + penalty, past.T @ deviations)
        residuals = clip(deviations - past @ weights)
        return [_make_part("autoregression", centre, residuals, _invert(residuals), weights)]
    count = deviations.shape[1]
    precision = np.diag(1.0 / np.maximum(deviations.var(axis=0), 1e-12))
    return [Part("single channel", centre, precision, np.zeros((0, count)), float(count), ("max",), (1,))]


def _make_part(
    name: str,
    centre: Floats,
    residuals: Floats,
    precision: Floats,
    weights: Floats | None = None,
    *,
    forms: tuple[str, ...] = ("sum", "max", "spread"),
    spans: tuple[int, ...] = SPANS,
) -> Part:
    usual = float(((residuals @ precision) * residuals).sum(axis=1).mean())
    no_weights = np.zeros((0, len(centre)))
    return Part(
        name,
        centre,
        precision,
        no_weights if weights is None else weights,
        max(usual, 1e-12),
        forms,
        spans,
    )


def _fit_pca(centre: Floats, deviations: Floats, with_residual: bool) -> list[Part]:
    """Return T2 over the components with more variance than one channel, and Q over the others."""
    variances, vectors = np.linalg.eigh(deviations.T @ deviations / len(deviations))
    kept = np.flatnonzero(variances > variances.mean())
    main = vectors[:, kept]
    t2 = (main / variances[kept]) @ main.T
    if not with_residual:
        return [_make_part("T2", centre, deviations, t2, forms=("sum",), spans=(1,))]
    rest = np.eye(len(centre)) - main @ main.T
    return [_make_part("T2", centre, deviations, t2), _make_part("Q", centre, deviations, rest)]


def _invert(residuals: Floats) -> Floats:
    """Return the inverse covariance, shrunk towards independent channels."""
    covariance = residuals.T @ residuals / len(residuals)
    spread = np.maximum(np.diag(covariance), 1e-6)
    return np.asarray(np.linalg.inv(covariance + _SHRINKAGE * np.diag(spread)))
