"""Numbers that loggers and exports write where there is no value: one list and one rule for every door."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

PLACEHOLDERS: Final = frozenset(
    {-999.0, -999.25, 9999.0, -9999.0, 99999.0, -99999.0, 999999.0, -999999.0, -32768.0, 32767.0, 65535.0}
)
# From the nearest other value, in spans of all others: a measurement is not that far away.
_MIN_DISTANCE: Final = 2.0


def find_placeholder_rows(cells: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return rows that hold a placeholder far away from all other values of the column."""
    is_placeholder: NDArray[np.bool_] = np.isin(cells, list(PLACEHOLDERS))
    others = cells[~is_placeholder & ~np.isnan(cells)]
    if not is_placeholder.any() or not len(others):
        return np.zeros(0, dtype=np.intp)
    # Isolated from the rest: 9999 is a reading of a sensor that measures up to 12,000.
    low, high = float(others.min()), float(others.max())
    distance = np.maximum(low - cells, cells - high)
    return np.flatnonzero(is_placeholder & (distance > _MIN_DISTANCE * max(high - low, abs(high), 1.0)))
