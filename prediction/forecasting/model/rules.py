"""Simple rules that answer instead of a network which errs more than they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

NETWORK = "network"
LAST_VALUE, SEASONAL_NAIVE = "last_value", "seasonal_naive"
# Windows in z units ``(n, window, n_features)`` in, forecasts ``(n, steps * n_targets)`` out.
RuleFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def create_rule(name: str, targets: Sequence[int], steps: int, season: int) -> RuleFunction:
    """Return a rule as a function of windows, in the form of an exported network."""

    def forecast(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        window = windows.shape[1]
        # The last value is a season of one row.
        period = season if name == SEASONAL_NAIVE else 1
        rows = window - period + np.arange(steps) % period
        values: NDArray[np.float32] = windows[:, rows][:, :, list(targets)].reshape(len(windows), -1)
        return values

    return forecast


def can_serve(name: str, window: int, season: int) -> bool:
    """Tell whether a window holds all that a rule needs: a season may be longer."""
    return name == LAST_VALUE or 0 < season <= window
