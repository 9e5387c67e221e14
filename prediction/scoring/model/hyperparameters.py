"""Hyper-parameters of the scoring model, chosen once by validation in time order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from storage.anomaly_reports.reports import SCORES

NUM_LEVELS = 5
# A score of five levels is four questions: is it above 1, above 2, above 3, above 4?
NUM_THRESHOLDS = NUM_LEVELS - 1

NUM_TARGETS = len(SCORES) * NUM_THRESHOLDS

# Missing a severe report costs this many times as much as a false alarm. Chosen on the means over five
# folds of a plant's 5,075 reports: availability 5 is found in .88 instead of .76 of cases, at a mean error of .193
# instead of .189.
DEFAULT_COST = 4.0

# With few reports the probability of a 5 is too rough to lean on: with 10 to 30 reports of that plant, a cost of
# 4 erred more than always the commonest score, a cost of 1 less. From the first number on the cost rises to its
# full value at the second.
MIN_COST_ROWS, FULL_COST_ROWS = 100, 300


def choose_cost(rows: int) -> float:
    """Return the default cost for a training on so many reports."""
    share = (rows - MIN_COST_ROWS) / (FULL_COST_ROWS - MIN_COST_ROWS)
    return round(1.0 + (DEFAULT_COST - 1.0) * min(max(share, 0.0), 1.0), 2)


@dataclass(frozen=True)
class ScoringHyperparameters:
    """What determines a fit besides its rows: equal values on equal rows give equal models.

    Parameters
    ----------
    format : int
        Raised with every change of the features, so that no older fit is taken for a current one.
    penalty : float
        Weight of the log loss against the squared weights (scikit-learn's ``C``).
    recency_rows : tuple of float
        For each score, the age in rows at which a report counts half in the fit; 0: all count alike.
    recency_floor : float
        What an old report counts at least.
    neighbours : int
        Newest earlier reports that are searched for similar texts.
    fitted_rows : int
        Newest reports that train the weights; older ones count in the history only.
    """

    format: int = 5
    penalty: float = 0.5
    recency_rows: tuple[float, ...] = (0.0, 0.0, 500.0)
    recency_floor: float = 0.2
    neighbours: int = 10_000
    fitted_rows: int = 20_000

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ScoringHyperparameters:
        """Read the form of ``dataclasses.asdict`` after a detour through JSON."""
        return cls(**{**fields, "recency_rows": tuple(fields["recency_rows"])})

    @property
    def digest(self) -> str:
        """A name: equal for equal hyper-parameters."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]
