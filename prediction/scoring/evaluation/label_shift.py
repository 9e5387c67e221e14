"""Test over many trainings whether new scores follow another rule than the anchor expects.

Each hypothesis (always the same score, one level higher, at random, …) is a bet against the anchor's
probabilities: its likelihood ratio over a batch has a mean of 1 at most where nothing is wrong, so it is an
e-value. The Shiryaev-Roberts detector adds up the bets started at every batch since the anchor, and the
hypotheses are averaged. Where nothing is wrong it takes ``n`` trainings on average to reach ``n``, however
often one looks, while small batches add up (Shin, Ramdas & Rinaldo, "E-detectors", 2024). An alpha-spending
rule would need the number of trainings in advance.

Two further questions keep the evidence where the detector alone would lose it. Batches in quarantine say how
the records that were held back looked: a bet on the same rules finds their continuation at once. And where one
score is always low while the severe scores that the anchor expects stay away, the scores are wrong and not new.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.model.hyperparameters import NUM_LEVELS
from prediction.scoring.model.ordinal import round_scores
from storage.anomaly_reports.reports import SCORES

# Share of each score's marginal distribution in the anchor's probabilities. Twice what fits the weekly
# reports of a plant best (.05 to .10), because experts change their minds and new kinds of reports come.
SMOOTHING = (0.15, 0.15, 0.2)

# How many of the new reports follow the hypothesis; the rest follow the anchor.
SHARES = (0.9, 0.3)

# Evidence that a score is always low, and that its severe levels stay away, from which on they count as harm.
# In 24 anchors of a plant's reports "availability always 1" reached both within 27 records; of 530 genuine weeks
# those of one quarter did, in which the plant gave most reports one and the same score.
MIN_LOG_CONSTANT = math.log(1_000)
MIN_LOG_ABSENCE = math.log(5)

SEVERE_LEVEL = 4
ABSENCE_SHARE = 0.9

JOINT = "all"
_ALL_SCORES = "all three scores"

Logs = NDArray[np.float64]

_RULES = {
    "higher": "one level higher than before",
    "lower": "one level lower than before",
    "random": "at random",
    "reversed": "on a scale that is turned round",
    "shuffled": "without regard to the report",
    "extremes": "with the ends of the scale only",
    "middle": "without the ends of the scale",
    **{f"always {level}": f"as {level}, whatever the report says" for level in range(1, NUM_LEVELS + 1)},
}

# Habits of single raters, as the level that each level turns into; the gate does not look for them.
HABITS = {
    "extremes": (1, 1, 5, 5, 5),
    "middle": (2, 2, 3, 4, 4),
    **{f"always {level}": (level,) * NUM_LEVELS for level in range(1, NUM_LEVELS + 1)},
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
    repeated_log_e_value : float
        Evidence that the new batches go on as those in quarantine did; 0 where none is, or where the newest
        batch speaks against it.
    lacks_severe : dict of str to float
        The scores that are always low where the anchor expects severe ones, with the evidence that they are
        always low, which pays for being sought in each score.
    first_batch : int
        The batch from which on the hypothesis has gained most.
    """

    log_e_value: float
    hypothesis: Hypothesis
    by_score: dict[str, float]
    batches: dict[int, tuple[float, Hypothesis]]
    repeated_log_e_value: float = 0.0
    lacks_severe: dict[str, float] = field(default_factory=dict)
    first_batch: int = 0


def detect_label_shift(
    probabilities: Floats,
    scores: Floats,
    marginals: Sequence[Floats],
    batches: NDArray[np.int64],
    quarantined: NDArray[np.bool_] | None = None,
    *,
    habits: Mapping[str, Sequence[int]] | None = None,
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
    quarantined : ndarray of bool, shape (rows,), optional
        Rows in quarantine: they say what to look for, and are no evidence about the others. At least one row
        is not among them.
    habits : mapping, optional
        Further rules: what each level turns into.
    """
    log_ratios, absences = _compute_log_ratios(probabilities, scores, marginals, habits or {})
    hypotheses = list(log_ratios)
    by_row = np.stack(list(log_ratios.values()), axis=1)
    waiting = np.zeros(len(scores), bool) if quarantined is None else quarantined
    numbers, sums = _sum_by_batch(by_row[~waiting], batches[~waiting])
    detector = _add_up(sums)
    by_score = {
        score: _log_mean(detector[[hypothesis.score == score for hypothesis in hypotheses]])
        for score in SCORES
    }
    best = int(detector.argmax())
    gains = np.cumsum(sums[::-1, best])[::-1]
    return LabelShift(
        log_e_value=_log_mean(detector),
        hypothesis=hypotheses[best],
        by_score=by_score,
        batches={
            number: (_log_mean(batch), hypotheses[int(batch.argmax())])
            for number, batch in zip(numbers.tolist(), sums, strict=True)
        },
        repeated_log_e_value=_measure_repetition(by_row[waiting], sums[-1], detector),
        lacks_severe=_find_scores_without_severe(
            hypotheses, sums[-1], detector, _add_up(_sum_by_batch(absences[~waiting], batches[~waiting])[1])
        ),
        first_batch=int(numbers[gains.argmax()]),
    )


def _compute_log_ratios(
    probabilities: Floats, scores: Floats, marginals: Sequence[Floats], habits: Mapping[str, Sequence[int]]
) -> tuple[dict[Hypothesis, Logs], Logs]:
    """Return the log likelihood ratio of each row by hypothesis, and that of absent severe levels by score."""
    ratios: dict[Hypothesis, Logs] = {}
    absences = np.zeros((len(scores), len(SCORES)))
    for column, score in enumerate(SCORES):
        present = np.flatnonzero(~np.isnan(scores[:, column]))
        true = round_scores(scores[present, column]) - 1
        rows = np.arange(len(present))
        expected = (1 - SMOOTHING[column]) * probabilities[present, column]
        expected = expected + SMOOTHING[column] * marginals[column]
        for rule, alternative in _alternatives(expected, marginals[column], habits):
            ratio = alternative[rows, true] / expected[rows, true]
            for share in SHARES:
                log_ratio = np.zeros(len(scores))
                log_ratio[present] = np.log(1 - share + share * ratio)
                ratios[Hypothesis(score, rule, share)] = log_ratio
                if rule in _RULES:
                    joint = Hypothesis(JOINT, rule, share)
                    ratios[joint] = ratios.get(joint, 0) + log_ratio
        # Without the severe levels the others are as likely as before, relative to each other.
        mild = expected[:, : SEVERE_LEVEL - 1].sum(axis=1)
        ratio = np.where(true < SEVERE_LEVEL - 1, 1 / mild, 0.0)
        absences[present, column] = np.log(1 - ABSENCE_SHARE + ABSENCE_SHARE * ratio)
    return ratios, absences


def _sum_by_batch(log_ratios: Logs, batches: NDArray[np.int64]) -> tuple[NDArray[np.int64], Logs]:
    """Return the numbers of the batches, ascending, and the sum of each, shape (batches, hypotheses)."""
    numbers, order = np.unique(batches, return_inverse=True)
    sums = np.zeros((len(numbers), log_ratios.shape[1]))
    np.add.at(sums, order, log_ratios)
    return numbers, sums


def _add_up(sums: Logs) -> Logs:
    """Return the Shiryaev-Roberts detector of each hypothesis after the last batch."""
    detector = np.full(sums.shape[1], -np.inf)
    for batch in sums:
        detector = np.logaddexp(detector, 0.0) + batch
    return detector


def _measure_repetition(quarantined: Logs, newest: Logs, detector: Logs) -> float:
    """Return the evidence that the batches go on as the rows in quarantine did, at least 0.

    Parameters
    ----------
    quarantined : ndarray, shape (rows, hypotheses)
        They weigh the hypotheses; without any there is nothing to repeat.
    newest : ndarray, shape (hypotheses,)
        The newest batch, which may speak against it.
    """
    if not len(quarantined):
        return 0.0
    weights = quarantined.sum(axis=0)
    weights = weights - np.logaddexp.reduce(weights)
    if np.logaddexp.reduce(weights + newest) <= 0:
        return 0.0
    return max(float(np.logaddexp.reduce(weights + detector)), 0.0)


def _find_scores_without_severe(
    hypotheses: Sequence[Hypothesis], newest: Logs, detector: Logs, absences: Logs
) -> dict[str, float]:
    """Return the scores that are always low, in the newest batch too, while their severe levels stay away.

    Parameters
    ----------
    absences : ndarray, shape (3,)
        For each score, the evidence that its severe levels stay away.

    Returns
    -------
    dict of str to float
        With the evidence that they are always low, which pays for being sought in each score.
    """
    lacking: dict[str, float] = {}
    for score, absence in zip(SCORES, absences.tolist(), strict=True):
        # The bets that this score is always the same and not severe.
        low = [
            index
            for index, hypothesis in enumerate(hypotheses)
            if hypothesis.score == score
            and hypothesis.rule.isdecimal()
            and int(hypothesis.rule) < SEVERE_LEVEL
        ]
        is_low = _log_mean(detector[low]) >= MIN_LOG_CONSTANT and _log_mean(newest[low]) > 0
        if is_low and absence >= MIN_LOG_ABSENCE:
            lacking[score] = _log_mean(detector[low]) - math.log(len(SCORES))
    return lacking


def _alternatives(
    expected: Floats, marginal: Floats, habits: Mapping[str, Sequence[int]]
) -> Iterator[tuple[str, Floats]]:
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
    for habit, levels in habits.items():
        yield habit, expected @ np.eye(NUM_LEVELS)[np.array(levels) - 1]


def _shift(probabilities: Floats, levels: int) -> Floats:
    shifted = np.zeros_like(probabilities)
    for level in range(NUM_LEVELS):
        shifted[:, min(max(level + levels, 0), NUM_LEVELS - 1)] += probabilities[:, level]
    return shifted


def _log_mean(logs: Logs) -> float:
    return float(np.logaddexp.reduce(logs)) - math.log(len(logs))
