"""Half widths of intervals: the quantiles that conformal prediction names, also where windows are few."""

from __future__ import annotations

import numpy as np
import pytest

from prediction.forecasting.intervals import COVERAGES, compute_half_widths, interpolate_half_widths


def residuals(windows: int, steps: int = 12, targets: int = 2, seed: int = 0) -> np.ndarray:
    spread = np.linspace(1, 2, steps)[:, None] * [1.0, 10.0]
    return np.random.default_rng(seed).normal(size=(windows, steps, targets)) * spread


def covered(windows: int, level: float) -> float:
    """Share of new residuals within the margins, over many draws."""
    shares = [
        (
            np.abs(residuals(50, seed=1000 + seed))
            <= interpolate_half_widths(compute_half_widths(residuals(windows, seed=seed)), level)
        ).mean()
        for seed in range(200)
    ]
    return float(np.mean(shares))


def test_enough_windows_give_each_step_its_own_quantile():
    off = residuals(199)
    ordered = np.sort(np.abs(off), axis=0)
    np.testing.assert_allclose(
        compute_half_widths(off)[COVERAGES.tolist().index(0.9)], ordered[179], rtol=1e-6
    )


@pytest.mark.parametrize("windows", [5, 14, 40])
def test_few_windows_cover_what_is_asked(windows):
    assert covered(windows, 0.9) >= 0.88
    assert covered(windows, 0.95) >= 0.93


def test_a_higher_level_is_never_narrower_and_targets_keep_their_units():
    found = compute_half_widths(residuals(7))
    assert (np.diff(found, axis=0) >= 0).all()
    assert (found[:, :, 1] > 3 * found[:, :, 0]).all()
