"""The recipe: every figure that shapes the scoring model, chosen once by validation in time order."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from storage.anomaly_reports.csv_store import SCORES

NUM_LEVELS = 5
NUM_THRESHOLDS = NUM_LEVELS - 1
"""A score of five levels is four questions: is it above 1, above 2, above 3, above 4?"""

NUM_TARGETS = len(SCORES) * NUM_THRESHOLDS


@dataclass(frozen=True)
class ScoringHyperparameters:
    """What is fitted, as a value: equal recipes on equal rows give equal models.

    Parameters
    ----------
    format : int
        Raised with every change of the features, so that no older fit is taken for a present one.
    penalty : float
        Weight of the log loss against the squared weights (scikit-learn's ``C``).
    recency_rows : tuple of float
        For each score, the age in rows at which a report counts half in the fit; 0: all count alike.
    recency_floor : float
        What an old report counts at least.
    neighbours : int
        Newest earlier reports that are searched for similar texts.
    fitted_rows : int
        Newest reports that train the weights; older ones still speak through the history.
    """

    format: int = 3
    penalty: float = 0.5
    recency_rows: tuple[float, ...] = (0.0, 0.0, 500.0)
    recency_floor: float = 0.2
    neighbours: int = 10_000
    fitted_rows: int = 20_000

    @property
    def digest(self) -> str:
        """A name for the recipe: equal for equal recipes."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]
