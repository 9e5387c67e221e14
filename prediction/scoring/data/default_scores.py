"""Find reports with default scores: for weeks every report has the same three scores, whatever it says.

They occur in every plant (a form's defaults, a substitute, a backlog closed in a hurry) and carry no
information about texts. They stay in the data, but neither weights nor history learn from them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features.point_in_time import Floats

WINDOW = 24
MIN_EQUAL_ROWS = 12
# So many earlier reports are needed to know how often three scores occur together by themselves.
MIN_PAST_ROWS = 100

MAX_DEVIATIONS = 6.0


def find_default_scores(scores: Floats) -> NDArray[np.bool_]:
    """Return whether each report's three scores fill the window before it beyond what the past explains.

    The count of reports with the same three scores among the last 24 is compared with its binomial
    expectation from all reports before the window. Only the report and its past are read. When the new habit
    lasts, it becomes what the past explains, and is learnt from.

    Parameters
    ----------
    scores : ndarray of float32, shape (rows, 3)
        In time order; NaN where a score is missing.
    """
    rows = np.arange(len(scores))
    quarters = np.nan_to_num(scores * 4).astype(np.int64)
    # Triple and row in one sorted number: two binary searches count the equal triples of any range.
    triples = (quarters * np.array([1 << 12, 1 << 6, 1])).sum(axis=1) * (len(scores) + 1)
    ordered = np.sort(triples + rows)
    window_start = np.maximum(rows - WINDOW + 1, 0)
    before_window = np.searchsorted(ordered, triples + window_start)
    in_window = np.searchsorted(ordered, triples + rows) - before_window + 1
    before = before_window - np.searchsorted(ordered, triples)
    share = (before + 1) / (window_start + 20)
    limit = WINDOW * share + MAX_DEVIATIONS * np.sqrt(WINDOW * share * (1 - share))
    is_default: NDArray[np.bool_] = (window_start >= MIN_PAST_ROWS) & (
        in_window >= np.maximum(limit, MIN_EQUAL_ROWS)
    )
    return is_default
