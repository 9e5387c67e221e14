"""Assess what the reports since the anchor do to answers that were good before.

Two questions decide together. ``label_shift`` asks whether the new scores follow another rule than the
anchor, which is fast to find wrong scores but takes new kinds of reports for such, too. The comparison on
held-out reports asks whether learning the new ones spoils older answers, which new kinds of reports do not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.contract import BatchInfluence, Champion, DataImpact, MissedSevere, SequentialEvidence
from prediction.scoring.data.preparation import ScoringSplit, boundary_step, find_boundary
from prediction.scoring.data.record_store import MIN_RECORDS
from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.evaluation.champion import unseen_by_champion
from prediction.scoring.evaluation.label_shift import JOINT, LabelShift, detect_label_shift
from prediction.scoring.evaluation.metrics import row_errors
from prediction.scoring.features.encoding import Encoded
from prediction.scoring.features.history_features import HistoryFeatures
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.model import ordinal
from prediction.scoring.model.fitting import fit_cached, fit_weights, weights_cache
from prediction.scoring.model.hyperparameters import NUM_LEVELS, NUM_TARGETS, NUM_THRESHOLDS
from prediction.scoring.model.ordinal import round_scores
from prediction.scoring.serving.artefacts import read_comparable
from storage.anomaly_reports.csv_store import SCORES
from storage.anomaly_reports.record_raters import fold_name

# Held-out reports of the anchor on which the new ones are judged.
MAX_REFERENCE_ROWS = 400
MIN_REFERENCE_ROWS = 20

# An anchor of fewer reports knows too little to suspect new ones.
MIN_ANCHOR_ROWS = 100

# Newest reports of the anchor that give the distribution of the levels.
MARGINAL_ROWS = 1_000

# From here on the batches are examined one by one.
STRONG_LOG_E_VALUE = float(np.log(1_000))
# From here on any rise of the loss counts as harm.
OVERWHELMING_LOG_E_VALUE = float(np.log(1e6))

# Standard errors by which a loss rises when new scores are not just new. In 119 genuine weeks of a plant
# in which the detector raised ten alarms about new kinds of reports, none of these rose by more than 0.5.
MIN_DETERIORATION = 1.0
MAX_ERROR_GROWTH = 0.04
MAX_RECALL_LOSS = 0.05
MIN_SEVERE_ROWS = 5

MAX_REASONS = 5

# From so many times the usual error, and so many levels, a person must look at the new reports: mistyped
# columns, a scale turned round, scores made up.
MAX_ERROR_RATIO, MIN_ERROR_LEVELS = 5.0, 1.0

# Bounds the log loss of a single report.
MIN_PROBABILITY = 0.01

# The batch of the session's own records, which have no session in the files yet.
PRESENT = np.iinfo(np.int64).max

RowIndex = NDArray[np.intp]
RowMask = NDArray[np.bool_]
Evidence = tuple[Encoded, Floats, NDArray[np.int64]]


@dataclass(frozen=True)
class Comparison:
    """A fit without and a fit with new rows, and the held-out rows on which they are compared.

    Parameters
    ----------
    trained : ndarray of bool, shape (rows,)
        The anchor's rows that both know.
    reference : ndarray of int
        The anchor's rows that neither knows.
    new : ndarray of bool, shape (rows,)
        Rows that the anchor does not know.
    weights : ndarray
        Fitted without the new rows.
    without : ndarray, shape (reference rows, 3, 4)
        Cumulative probabilities of the reference rows, without the new rows.
    """

    split: ScoringSplit
    trained: RowMask
    reference: RowIndex
    new: RowMask
    weights: Floats
    without: Floats

    @property
    def truth(self) -> Floats:
        """Scores of the reference rows."""
        return self.split.training_set.scores[self.reference]

    def answer_with(self, new: RowMask) -> Floats:
        """Return cumulative probabilities of the reference rows, with some new rows in weights and history."""
        rows, hyperparameters = self.split.training_set.select(self.trained | new), self.split.hyperparameters
        start = max(len(rows) - hyperparameters.fitted_rows, 0)
        features = rows.compute_features(hyperparameters, start)
        weights = fit_weights(features, rows, hyperparameters, self.weights, start=start, end=len(rows))
        return _answer(rows, weights, self.split, self.reference)


def assess_new_data(anchor: Champion, split: ScoringSplit) -> DataImpact | None:
    """Return what the rows that the anchor does not know do to its held-out reports.

    None where there is nothing new, or too little to compare.
    """
    comparison = _compare(anchor, split)
    if comparison is None:
        return None
    truth = comparison.truth
    without, answers = comparison.without, comparison.answer_with(comparison.new)
    errors = row_errors(ordinal.decode_levels(without, split.cost), truth)
    losses_on_new, reasons = _find_contradictions(comparison)
    shift = _detect_shift(anchor, comparison)
    sequential = None
    influence: list[BatchInfluence] = []
    if shift is not None:
        concerned = [
            column
            for column, score in enumerate(SCORES)
            if shift.hypothesis.score in (score, JOINT) or shift.by_score[score] >= STRONG_LOG_E_VALUE / 2
        ]
        is_worse = {
            SCORES[c]: _is_worse(without[:, [c]], answers[:, [c]], truth[:, c], split.cost, shift.log_e_value)
            for c in concerned
        }
        # A detector of its own, for what hides severe reports: it need not share its evidence with other rules.
        log_e_value = max(
            [shift.log_e_value]
            + [value for score, value in shift.lacks_severe.items() if is_worse.get(score, False)]
        )
        is_harmful = bool(shift.lacks_severe) or any(is_worse.values())
        rows = int(comparison.new.sum())
        sequential = SequentialEvidence(
            log_e_value, str(shift.hypothesis), rows, is_harmful, shift.repeated_log_e_value
        )
        if is_harmful and log_e_value >= STRONG_LOG_E_VALUE:
            influence = _rank_batches(comparison, shift)
    return DataImpact(
        losses_without=errors.tolist(),
        losses_with=row_errors(ordinal.decode_levels(answers, split.cost), truth).tolist(),
        reasons=reasons,
        losses_on_new=losses_on_new,
        max_loss_on_new=max(MAX_ERROR_RATIO * float(errors.mean()), MIN_ERROR_LEVELS),
        deterioration={
            score: _deterioration(without[:, column], answers[:, column], truth[:, column])
            for column, score in enumerate(SCORES)
        },
        sequential=sequential,
        influence=influence,
        missed=_count_missed(without, answers, truth, split.cost),
    )


def measure_influence(anchor: Champion, split: ScoringSplit) -> list[BatchInfluence]:
    """Return what each batch since the anchor does to the model, the most harmful first."""
    comparison = _compare(anchor, split)
    shift = None if comparison is None else _detect_shift(anchor, comparison)
    return [] if comparison is None or shift is None else _rank_batches(comparison, shift)


def _compare(anchor: Champion, split: ScoringSplit) -> Comparison | None:
    rows = split.training_set
    new = unseen_by_champion(anchor, rows)
    seen = np.flatnonzero(~new)
    if not new.any() or len(seen) < MIN_RECORDS:
        return None
    boundary = find_boundary(rows.select(~new).past_counts, boundary_step(len(seen)))
    trained, reference = seen[:boundary], seen[boundary:][-MAX_REFERENCE_ROWS:]
    is_trained = np.zeros(len(rows), bool)
    is_trained[trained] = True
    before = rows.select(is_trained)
    if len(reference) < MIN_REFERENCE_ROWS or np.isnan(before.usable_scores).all(axis=0).any():
        return None
    weights = _fit_without(before, trained, split)
    keys = np.bitwise_xor.reduce(rows.keys[reference] * np.uint64(0x9E3779B97F4A7C15))
    past = int(before.prefix_hashes[-1])
    # Unchanged while the anchor is: later trainings find it in the cache.
    without = weights_cache(before).get(
        f"reference-{split.hyperparameters.digest}-{past:016x}-{int(keys):016x}",
        (len(reference), NUM_TARGETS // NUM_THRESHOLDS, NUM_THRESHOLDS),
        lambda: _answer(before, weights, split, reference).astype(np.float32),
    )
    return Comparison(split, is_trained, reference, new, weights, without)


def _fit_without(before: TrainingSet, trained: RowIndex, split: ScoringSplit) -> Floats:
    """Return weights without the new rows; mostly the anchor's own held-out fit, from the cache."""
    hyperparameters = split.hyperparameters
    start = max(len(before) - hyperparameters.fitted_rows, 0)
    is_prefix = trained[-1] == len(before) - 1 and start >= split.start
    if is_prefix:  # noqa: SIM108 (a ternary of two lines)
        features = split.features[start - split.start :]
    else:
        features = before.compute_features(hyperparameters, start)
    return fit_cached(before, hyperparameters, len(before), start, features)


def _answer(rows: TrainingSet, weights: Floats, split: ScoringSplit, reports: RowIndex) -> Floats:
    """Return cumulative probabilities of some reports, with ``rows`` as their history."""
    history = HistoryFeatures(rows.timeline(), split.hyperparameters)
    encoded = split.training_set.encoded(reports)
    features = history.compute(encoded, np.full(len(encoded), len(rows)))
    return ordinal.cumulative_probabilities(features @ weights)


def _detect_shift(anchor: Champion, comparison: Comparison) -> LabelShift | None:
    """Score the new rows with the anchor as it served, before any of them was learnt, and test them."""
    split, rows = comparison.split, comparison.split.training_set
    artefacts = read_comparable(anchor.folder)
    if artefacts is None:
        return None
    index = np.flatnonzero(comparison.new & ~rows.default_scored)
    index = index[index >= len(rows) - len(rows.recent)]
    if len(artefacts.timeline) < MIN_ANCHOR_ROWS or not len(index):
        return None
    evidence = [_read_evidence(rows, index)]
    if split.quarantined is not None:
        # Of the rows in quarantine, those that came after the anchor.
        waiting = split.quarantined
        is_later = _batch_numbers(waiting) > anchor.manifest.get("session_id", 0)
        is_scored = ~np.isnan(waiting.scores).all(axis=1)
        evidence.append(_read_evidence(waiting, np.flatnonzero(is_later & is_scored)))
    encoded, scores, batches = (np.concatenate(part) for part in zip(*evidence, strict=True))
    quarantined = np.arange(len(scores)) >= len(evidence[0][1])
    history = HistoryFeatures(artefacts.timeline, artefacts.hyperparameters)
    features = history.compute(encoded, np.full(len(encoded), history.end))
    probabilities = ordinal.level_probabilities(
        ordinal.cumulative_probabilities(features @ artefacts.weights)
    )
    known = ordinal.to_levels(artefacts.timeline.scores[-MARGINAL_ROWS:])
    marginals = [ordinal.share_levels(column) for column in known.T]
    return detect_label_shift(probabilities, scores, marginals, batches, quarantined)


def _read_evidence(rows: TrainingSet, index: RowIndex) -> Evidence:
    """Return texts, scores and batches of some rows."""
    # Some plants store a report several times: equal rows are one piece of evidence.
    index = index[np.sort(np.unique(rows.keys[index], return_index=True)[1])]
    return rows.encoded(index), rows.scores[index], _batch_numbers(rows)[index]


def _batch_numbers(rows: TrainingSet) -> NDArray[np.int64]:
    """Return the session of each row; 0 for rows of the plant's own, which count as one batch."""
    sessions = np.array([session or 0 for session in rows.reports.session_ids], np.int64)[rows.order]
    return np.where(rows.is_new, PRESENT, sessions)


def _rank_batches(comparison: Comparison, shift: LabelShift) -> list[BatchInfluence]:
    """Leave each batch out in turn; the one whose absence helps most comes first."""
    rows = comparison.split.training_set
    numbers = _batch_numbers(rows)
    loss = _mean_log_loss(comparison.answer_with(comparison.new), comparison.truth)
    influence = []
    for number in np.unique(numbers[comparison.new]).tolist():
        batch = comparison.new & (numbers == number)
        without_batch = comparison.answer_with(comparison.new & ~batch)
        log_e_value, hypothesis = shift.batches.get(number, (0.0, ""))
        influence.append(
            BatchInfluence(
                session_id=number if 0 < number < PRESENT else None,
                rows=int(batch.sum()),
                loss_change=loss - _mean_log_loss(without_batch, comparison.truth),
                log_e_value=log_e_value,
                hypothesis=str(hypothesis),
                rater=_find_main_rater(rows, batch),
            )
        )
    return sorted(influence, key=lambda batch: -batch.loss_change)


def _find_main_rater(rows: TrainingSet, batch: RowMask) -> str | None:
    """Return who scored at least half of a batch; None where nobody did or nobody is named."""
    names = [rows.reports.raters[row] for row in rows.order[batch].tolist()] if rows.reports.raters else []
    key, count = max(Counter(map(fold_name, names)).items(), key=lambda item: item[1], default=("", 0))
    newest_first = (name for name in reversed(names) if fold_name(name) == key)
    return next(newest_first) if key and 2 * count >= batch.sum() else None


def _log_losses(above: Floats, truth: Floats) -> Floats:
    """Return the log loss of one score for the reports that have it."""
    present = ~np.isnan(truth)
    probabilities = ordinal.level_probabilities(above[present][:, None])[:, 0]
    true = probabilities[np.arange(len(probabilities)), round_scores(truth[present]) - 1]
    losses: Floats = -np.log(np.maximum(true, MIN_PROBABILITY))
    return losses


def _mean_log_loss(above: Floats, truth: Floats) -> float:
    columns = range(truth.shape[1])
    return float(np.mean([_log_losses(above[:, column], truth[:, column]).mean() for column in columns]))


def _deterioration(without: Floats, answers: Floats, truth: Floats) -> float:
    """Return by how many standard errors the log loss of one score rises."""
    increase = _log_losses(answers, truth) - _log_losses(without, truth)
    if len(increase) < MIN_REFERENCE_ROWS:
        return 0.0
    return float(increase.mean() / (increase.std(ddof=1) / np.sqrt(len(increase)) + 1e-12))


def _is_worse(without: Floats, answers: Floats, truth: Floats, cost: float, log_e_value: float) -> bool:
    """Return whether a score is answered worse: clearly by its loss, or slightly and by another sign, too."""
    deterioration = _deterioration(without[:, 0], answers[:, 0], truth)
    if deterioration >= MIN_DETERIORATION or deterioration <= 0:
        return deterioration > 0
    before, after = (ordinal.decode_levels(above, cost)[:, 0] for above in (without, answers))
    error = float(np.nanmean(np.abs(before - truth)))
    growth = float(np.nanmean(np.abs(after - truth))) - error
    lost = [
        (before[severe] >= level).mean() - (after[severe] >= level).mean()
        for level in (NUM_LEVELS - 1, NUM_LEVELS)
        if (severe := truth >= level).sum() >= MIN_SEVERE_ROWS
    ]
    return (
        log_e_value >= OVERWHELMING_LOG_E_VALUE
        or growth > MAX_ERROR_GROWTH * max(error, 0.1)
        or any(loss >= MAX_RECALL_LOSS for loss in lost)
    )


def _count_missed(without: Floats, answers: Floats, truth: Floats, cost: float) -> list[MissedSevere]:
    """Return how many severe reference reports are found without and with the new rows."""
    before, after = ordinal.decode_levels(without, cost), ordinal.decode_levels(answers, cost)
    missed = []
    for column, score in enumerate(SCORES):
        for level in (NUM_LEVELS - 1, NUM_LEVELS):
            severe = truth[:, column] >= level
            missed.append(
                MissedSevere(
                    name=f"{score.replace('_', ' ')} from {level} on",
                    records=int(severe.sum()),
                    found_without=int((before[severe, column] >= level).sum()),
                    found_with=int((after[severe, column] >= level).sum()),
                )
            )
    return missed


def _find_contradictions(comparison: Comparison) -> tuple[list[float], list[str]]:
    """Return how far each new report is from what earlier ones suggest, and the farthest as sentences."""
    split, rows = comparison.split, comparison.split.training_set
    index = np.flatnonzero(comparison.new & (np.arange(len(rows)) >= split.start))
    margins = split.features[index - split.start] @ comparison.weights
    levels = ordinal.decode_levels(ordinal.cumulative_probabilities(margins), split.cost)
    errors = np.nan_to_num(np.abs(levels - rows.scores[index]))
    worst = np.argsort(-errors.sum(axis=1), kind="stable")[:MAX_REASONS]
    reasons = [
        _describe(rows, int(index[row]), levels[row].tolist())
        for row in worst.tolist()
        if errors[row].max() >= 1
    ]
    return errors.mean(axis=1).tolist(), reasons


def _describe(rows: TrainingSet, row: int, expected: list[int]) -> str:
    report = int(rows.order[row])
    differences = [
        f"{score} {rows.scores[row, column]:g} where earlier reports suggest {expected[column]}"
        for column, score in enumerate(SCORES)
        if abs(rows.scores[row, column] - expected[column]) >= 1
    ]
    name = rows.reports.anomaly_ids[report] or "A report"
    return f"{name} ({rows.reports.excerpt(report)!r}): {'; '.join(differences)}"
