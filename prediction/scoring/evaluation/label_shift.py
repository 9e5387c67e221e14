"""Test over many trainings whether new scores follow another rule than the anchor expects.

Each hypothesis (always the same score, one level higher, at random, …) is a bet against the anchor's
probabilities: its likelihood ratio over a batch has a mean of 1 at most where nothing is wrong, so it is an
e-value. The Shiryaev-Roberts detector adds up the bets started at every batch since the anchor, and the
hypotheses are averaged. Where nothing is wrong it takes ``n`` trainings on average to reach ``n``, however
often one looks, while small batches add up (Shin, Ramdas & Rinaldo, "E-detectors", 2024). An alpha-spending
rule would need the number of trainings in advance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.model.hyperparameters import NUM_LEVELS
from prediction.scoring.model.ordinal import round_scores
from storage.anomaly_reports.reports import SCORES

SMOOTHING = (0.15, 0.15, 0.2)
"""Share of each score's marginal distribution in the anchor's probabilities. Twice what fits the weekly
reports of a plant best (.05 to .10), because experts change their minds and new kinds of reports come."""

SHARES = (0.9, 0.3)
"""How many of the new reports follow the hypothesis; the rest follow the anchor."""

JOINT = "all"
_ALL_SCORES = "all three scores"

Logs = NDArray[np.float64]

_RULES = {
    "higher": "one level higher than before",
    "lower": "one level lower than before",
    "random": "at random",
    "reversed": "on a scale that is turned round",
    "shuffled": "without regard to the report",
}


@dataclass(frozen=True)
class Hypothesis:
    """A rule that new scores may follow.

    Parameters
    ----------
    score : str
        The score that follows it, or ``JOINT``.
    rule : str
        A key of ``_RULES``, or the level that is always given.
    share : float
    """

    score: str
    rule: str
    share: float

    def __str__(self) -> str:
        if self.score == JOINT:
            return f"{_ALL_SCORES} are given {_RULES[self.rule]}"
        name = self.score.replace("_", " ")
        if self.rule.isdecimal():
            return f"{name} is always scored {self.rule}, whatever the report says"
        return f"{name} is scored {_RULES[self.rule]}"


@dataclass(frozen=True)
class LabelShift:
    """The evidence after the last batch.

    Parameters
    ----------
    log_e_value : float
        Of the detector over all batches.
    hypothesis : Hypothesis
        The one with the most evidence.
    by_score : dict of str to float
        The evidence of the hypotheses about one score alone.
    batches : dict of int to (float, Hypothesis)
        For each batch, the evidence of this batch alone.
    """

    log_e_value: float
    hypothesis: Hypothesis
    by_score: dict[str, float]
    batches: dict[int, tuple[float, Hypothesis]]


def detect_label_shift(
    probabilities: Floats, scores: Floats, marginals: Sequence[Floats], batches: NDArray[np.int64]
) -> LabelShift:
    """Return the evidence that new scores follow another rule.

    Parameters
    ----------
    probabilities : ndarray, shape (rows, 3, 5)
        The anchor's probabilities of the new reports, made without any of them.
    scores : ndarray, shape (rows, 3)
        NaN where a score is missing.
    marginals : sequence of ndarray, shape (5,)
        For each score, the distribution of the levels before.
    batches : ndarray of int, shape (rows,)
        The batch of each row; later batches have higher numbers.
    """
    ratios: dict[Hypothesis, Logs] = {}
    for column, score in enumerate(SCORES):
        present = np.flatnonzero(~np.isnan(scores[:, column]))
        true = round_scores(scores[present, column]) - 1
        rows = np.arange(len(present))
        expected = (1 - SMOOTHING[column]) * probabilities[present, column]
        expected = expected + SMOOTHING[column] * marginals[column]
        for rule, alternative in _alternatives(expected, marginals[column]):
            ratio = alternative[rows, true] / expected[rows, true]
            for share in SHARES:
                log_ratio = np.zeros(len(scores))
                log_ratio[present] = np.log(1 - share + share * ratio)
                ratios[Hypothesis(score, rule, share)] = log_ratio
                if rule in _RULES:
                    joint = Hypothesis(JOINT, rule, share)
                    ratios[joint] = ratios.get(joint, 0) + log_ratio
    hypotheses = list(ratios)
    # Sum of the log ratios by batch and hypothesis.
    numbers, order = np.unique(batches, return_inverse=True)
    sums = np.zeros((len(numbers), len(hypotheses)))
    np.add.at(sums, order, np.stack([ratios[hypothesis] for hypothesis in hypotheses], axis=1))
    detector = np.full(len(hypotheses), -np.inf)
    for batch in sums:
        detector = np.logaddexp(detector, 0.0) + batch
    by_score = {
        score: _log_mean(detector[[hypothesis.score == score for hypothesis in hypotheses]])
        for score in SCORES
    }
    return LabelShift(
        log_e_value=_log_mean(detector),
        hypothesis=hypotheses[int(detector.argmax())],
        by_score=by_score,
        batches={
            number: (_log_mean(batch), hypotheses[int(batch.argmax())])
            for number, batch in zip(numbers.tolist(), sums, strict=True)
        },
    )


def _alternatives(expected: Floats, marginal: Floats) -> Iterator[tuple[str, Floats]]:
    """Yield the probabilities of the levels under each rule."""
    for level in range(NUM_LEVELS):
        constant = np.zeros_like(expected)
        constant[:, level] = 1.0
        yield str(level + 1), constant
    yield "higher", _shift(expected, 1)
    yield "lower", _shift(expected, -1)
    yield "random", np.full_like(expected, 1 / NUM_LEVELS)
    yield "reversed", expected[:, ::-1]
    yield "shuffled", np.tile(marginal, (len(expected), 1))


def _shift(probabilities: Floats, levels: int) -> Floats:
    shifted = np.zeros_like(probabilities)
    for level in range(NUM_LEVELS):
        shifted[:, min(max(level + levels, 0), NUM_LEVELS - 1)] += probabilities[:, level]
    return shifted


def _log_mean(logs: Logs) -> float:
    return float(np.logaddexp.reduce(logs)) - math.log(len(logs))
