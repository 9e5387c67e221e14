"""Simple rules that a model must beat: the mean remaining life, and that of devices of the same age."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEAN_RUL, AGE_ONLY = "mean_rul", "age_only"
# Groups of ages whose means are joined by lines: with more, a small fleet's rule follows single devices.
_AGE_GROUPS: Final = 8


def predict_baselines(
    train_ages: Floats, train_targets: NDArray[np.float32], test_ages: Floats
) -> dict[str, Floats]:
    """Return what each rule predicts for the test rows.

    A network that sees the age (``use_age``) and noise finds the rule by age, which is far better than the mean.

    Parameters
    ----------
    train_ages, test_ages : ndarray
        Hours since the start of the run; NaN where a device reports its age itself and left a row out.
    """
    mean = float(train_targets.mean())
    predictions = {MEAN_RUL: np.full(len(test_ages), mean)}
    is_known = np.isfinite(train_ages)
    if not is_known.any():
        return predictions
    ages, targets = train_ages[is_known], train_targets[is_known].astype(np.float64)
    edges = np.quantile(ages, np.linspace(0, 1, _AGE_GROUPS + 1)[1:-1])
    group = np.searchsorted(edges, ages, side="right")
    counts = np.bincount(group)
    filled = counts > 0
    centres, means = (np.bincount(group, weights=of)[filled] / counts[filled] for of in (ages, targets))
    by_age = np.interp(test_ages, centres, means)
    predictions[AGE_ONLY] = np.where(np.isfinite(test_ages), by_age, mean)
    return predictions
