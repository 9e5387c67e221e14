"""Split conformal prediction: how large an error a new sample exceeds with a stated probability only.

The ``ceil((n + 1) * coverage)``-th smallest of n held-out errors covers a new one with at least that
probability where all are exchangeable (Vovk et al., 2005; Lei et al., JASA 2018; Angelopoulos and Bates,
"A gentle introduction to conformal prediction", 2021, section 1.1).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

# (n + 1) * coverage is often a whole number but for the last bit, which must not raise the rank.
_ROUNDING: Final = 1e-9


def conformal_rank(count: int, coverage: float) -> int:
    """Return the rank of the error that covers a new one; above ``count`` where there are too few errors."""
    return math.ceil((count + 1) * coverage - _ROUNDING)


def conformal_quantiles(errors: NDArray[np.floating], coverages: NDArray[np.float64]) -> NDArray[np.floating]:
    """Return the errors that cover a new one, the largest error where there are too few.

    Parameters
    ----------
    errors : ndarray, shape (n, …)
    coverages : ndarray, shape (m,)

    Returns
    -------
    ndarray, shape (m, …)
    """
    count = len(errors)
    ranks = [min(max(conformal_rank(count, coverage), 1), count) for coverage in coverages.tolist()]
    quantiles: NDArray[np.floating] = np.sort(errors, axis=0)[np.array(ranks) - 1]
    return quantiles
