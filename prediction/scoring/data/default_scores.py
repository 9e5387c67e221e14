"""Reports that were scored by rote: for weeks every report carries the same three scores, whatever it says.

They happen in every plant (a form's defaults, a substitute, a backlog closed in a hurry) and teach nothing
about texts. They stay in the data, but neither the weights nor the history learn from them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features.point_in_time import Floats

WINDOW = 24
MIN_EQUAL_ROWS = 12
MIN_PAST_ROWS = 100
"""So many earlier reports are needed to know how often three scores occur together by themselves."""

MAX_DEVIATIONS = 6.0


def find_default_scores(scores: Floats) -> NDArray[np.bool_]:
    """Whether each report's three scores fill the window that ends with it beyond what the past explains.

    The count of reports with the same three scores among the last 24 is compared with its binomial
    expectation from all reports before the window; six standard deviations more is no chance. Only the
    report and its past are looked at. When the new habit lasts, it becomes what the past explains, and is
    learnt from.

    Parameters
    ----------
    scores : ndarray of float32, shape (rows, 3)
        In time order; NaN where a score is missing.
    """
    rows = np.arange(len(scores))
    quarters = np.nan_to_num(scores * 4).astype(np.int64)
    triples = (quarters * np.array([1 << 12, 1 << 6, 1])).sum(axis=1) * (len(scores) + 1)
    places = np.sort(triples + rows)
    oldest = np.maximum(rows - WINDOW + 1, 0)
    entered = np.searchsorted(places, triples + oldest)
    alike = np.searchsorted(places, triples + rows) - entered + 1
    before = entered - np.searchsorted(places, triples)
    usual = (before + 1) / (oldest + 20)
    most = WINDOW * usual + MAX_DEVIATIONS * np.sqrt(WINDOW * usual * (1 - usual))
    found: NDArray[np.bool_] = (oldest >= MIN_PAST_ROWS) & (alike >= np.maximum(most, MIN_EQUAL_ROWS))
    return found
