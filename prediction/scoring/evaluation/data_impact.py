"""Assess what the reports since the anchor do to answers that were good before.

Two questions decide together. ``label_shift`` asks whether the new scores follow another rule than the
anchor, which is fast to find wrong scores but takes new kinds of reports for such, too. The comparison on
held-out reports asks whether learning the new ones spoils older answers, which new kinds of reports do not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.contract import BatchInfluence, Champion, DataImpact, SequentialEvidence
from prediction.scoring.data.preparation import ScoringSplit, boundary_step, find_boundary
from prediction.scoring.data.record_store import MIN_RECORDS
from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.evaluation.champion import unseen_by_champion
from prediction.scoring.evaluation.label_shift import JOINT, LabelShift, detect_label_shift
from prediction.scoring.evaluation.metrics import row_errors
from prediction.scoring.features.history_features import HistoryFeatures
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.model import ordinal
from prediction.scoring.model.fitting import fit_cached, fit_weights, weights_cache
from prediction.scoring.model.hyperparameters import NUM_LEVELS, NUM_TARGETS, NUM_THRESHOLDS
from prediction.scoring.model.ordinal import round_scores
from prediction.scoring.serving.artefacts import STATE_FILE, read_artefacts, read_hyperparameters
from storage.anomaly_reports.csv_store import SCORES

MAX_REFERENCE_ROWS = 400
MIN_REFERENCE_ROWS = 20
"""Held-out reports of the anchor on which the new ones are judged."""

MIN_ANCHOR_ROWS = 100
"""An anchor of fewer reports knows too little to suspect new ones."""

MARGINAL_ROWS = 1_000
"""Newest reports of the anchor that give the distribution of the levels."""

STRONG_LOG_E_VALUE = float(np.log(1_000))
"""From here on the batches are examined one by one."""
OVERWHELMING_LOG_E_VALUE = float(np.log(1e6))
"""From here on any rise of the loss counts as harm."""

MIN_DETERIORATION = 1.0
"""Standard errors by which a loss rises when new scores are not just new. In 119 genuine weeks of a plant
in which the detector raised ten alarms about new kinds of reports, none of these rose by more than 0.5."""
MAX_ERROR_GROWTH = 0.04
MAX_RECALL_LOSS = 0.05
MIN_SEVERE_ROWS = 5

MAX_REASONS = 5
MAX_TEXT_LENGTH = 60

MAX_ERROR_RATIO, MIN_ERROR_LEVELS = 5.0, 1.0
"""From so many times the usual error, and so many levels, a person must look at the new reports: mistyped
columns, a scale turned round, scores made up."""

MIN_PROBABILITY = 0.01
"""Bounds the log loss of a single report."""

PRESENT = np.iinfo(np.int64).max
"""The batch of the session's own records, which have no session in the files yet."""

RowIndex = NDArray[np.intp]
RowMask = NDArray[np.bool_]


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
        is_harmful = any(
            _is_worse(without[:, [c]], answers[:, [c]], truth[:, c], split.cost, shift.log_e_value)
            for c in concerned
        )
        rows = int(comparison.new.sum())
        sequential = SequentialEvidence(shift.log_e_value, str(shift.hypothesis), rows, is_harmful)
        if is_harmful and shift.log_e_value >= STRONG_LOG_E_VALUE:
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
    if is_prefix:
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
    state = json.loads((anchor.folder / STATE_FILE).read_bytes())
    if read_hyperparameters(state).format != split.hyperparameters.format:
        return None
    artefacts = read_artefacts(anchor.folder)
    index = np.flatnonzero(comparison.new & ~rows.default_scored)
    # Some plants store a report several times: equal rows are one piece of evidence.
    index = index[np.sort(np.unique(rows.keys[index], return_index=True)[1])]
    first_encoded = len(rows) - len(rows.recent)
    index = index[index >= first_encoded]
    if len(artefacts.timeline) < MIN_ANCHOR_ROWS or not len(index):
        return None
    history = HistoryFeatures(artefacts.timeline, artefacts.hyperparameters)
    features = history.compute(rows.encoded(index), np.full(len(index), history.end))
    probabilities = ordinal.level_probabilities(
        ordinal.cumulative_probabilities(features @ artefacts.weights)
    )
    marginals = [_marginal(column) for column in artefacts.timeline.scores[-MARGINAL_ROWS:].T]
    return detect_label_shift(probabilities, rows.scores[index], marginals, _batch_numbers(rows)[index])


def _marginal(scores: Floats) -> Floats:
    levels = round_scores(scores[~np.isnan(scores)])
    counts = np.bincount(levels, minlength=NUM_LEVELS + 1)[1:] + 1.0
    marginal: Floats = counts / counts.sum()
    return marginal


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
            )
        )
    return sorted(influence, key=lambda batch: -batch.loss_change)


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
    text = rows.reports.description[report]
    short = text if len(text) <= MAX_TEXT_LENGTH else text[: MAX_TEXT_LENGTH - 3] + "…"
    differences = [
        f"{score} {rows.scores[row, column]:g} where earlier reports suggest {expected[column]}"
        for column, score in enumerate(SCORES)
        if abs(rows.scores[row, column] - expected[column]) >= 1
    ]
    return f"{rows.reports.anomaly_ids[report] or 'A report'} ({short!r}): {'; '.join(differences)}"
