"""Test whether the newest scores of one rater follow another rule than everything else that is stored.

What similar reports were given is the expectation, and each rule of ``label_shift`` is a bet against it: one
level higher, always the same score, only the ends of the scale. The rater's earlier records are part of what is
compared with, so that a rater who scores a section of its own is compared with that section.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.evaluation.label_shift import HABITS, Hypothesis, detect_label_shift
from prediction.scoring.features.encoding import Encoded
from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.labels.similar_rows import SimilarRows, find_similar
from prediction.scoring.model.hyperparameters import NUM_LEVELS
from prediction.scoring.model.ordinal import share_levels, to_levels
from storage.anomaly_reports.record_raters import fold_name

KINDS: Final = ("rater", "source")

# Newest records of a rater that are tested together.
WINDOW_ROWS: Final = 60
MIN_ROWS: Final = 6
MIN_REFERENCE_ROWS: Final = 50
# Records without a report so similar are not compared: nobody else has judged anything like them.
MIN_SIMILARITY: Final = 0.6
# Raters are tested again with every request, on overlapping records. Of 305 tests of raters with genuine scores,
# who were drawn at random, by section, by system or by time, 26 reached this evidence: 22 in the quarter in
# which the plant gave most reports 3, 3, 3, and four others.
MIN_LOG_E_VALUE: Final = math.log(1e5)

MARGINAL_ROWS: Final = 1_000
# What the overall shares of the levels count for, beside neighbours that count up to three each.
PRIOR_WEIGHT: Final = 0.1
SAME_EQUIPMENT_WEIGHT: Final = 3.0


@dataclass(frozen=True)
class RatedRecords:
    """Records with a rater or a source, in the order of arrival.

    Parameters
    ----------
    reports : ndarray of ENCODED, shape (records,)
    scores : ndarray of float32, shape (records, 3)
    index : ndarray of int
        The row of each; the number of rows for one that waits in quarantine.
    ids : ndarray of str
    is_new : ndarray of bool
    names : dict of str to ndarray of str
        Rater and source of each, by kind; blank where unknown.
    """

    reports: Encoded
    scores: Floats
    index: Ints
    ids: NDArray[np.str_]
    is_new: NDArray[np.bool_]
    names: dict[str, NDArray[np.str_]]

    def select(self, positions: Ints) -> RatedRecords:
        """Return some of the records."""
        return RatedRecords(
            self.reports[positions],
            self.scores[positions],
            self.index[positions],
            self.ids[positions],
            self.is_new[positions],
            {kind: names[positions] for kind, names in self.names.items()},
        )

    def group(self, kind: str) -> dict[str, Ints]:
        """Return the positions of the records of each rater, under the newest spelling of the name.

        Spellings that differ in case and blanks only are one rater.
        """
        folded = np.array([fold_name(name) for name in self.names[kind].tolist()])
        groups = {}
        for name in np.unique(folded[folded != ""]).tolist():
            positions = np.flatnonzero(folded == name)
            groups[" ".join(str(self.names[kind][positions[-1]]).split())] = positions
        return groups


@dataclass(frozen=True)
class RaterShift:
    """Evidence that a rater scores by another rule.

    Parameters
    ----------
    kind, name : str
        One of ``KINDS``, and who.
    rule : Hypothesis
    log_e_value : float
    ids : list of str
        The records from the first one on for which the rule pays.
    """

    kind: str
    name: str
    rule: Hypothesis
    log_e_value: float
    ids: list[str]


def read_rated_records(rows: TrainingSet, waiting: TrainingSet | None = None) -> RatedRecords:
    """Return the records with a rater or a source that are held in full, those in quarantine included."""
    parts = [_read_part(rows, len(rows), False)]
    if waiting is not None:
        parts.append(_read_part(waiting, len(rows), True))
    sessions = np.concatenate([part[1] for part in parts])
    records = [part[0] for part in parts]
    joined = RatedRecords(
        np.concatenate([part.reports for part in records]),
        np.concatenate([part.scores for part in records]),
        np.concatenate([part.index for part in records]),
        np.concatenate([part.ids for part in records]),
        np.concatenate([part.is_new for part in records]),
        {kind: np.concatenate([part.names[kind] for part in records]) for kind in KINDS},
    )
    return joined.select(np.argsort(sessions, kind="stable"))


def _read_part(
    rows: TrainingSet, num_rows: int, is_waiting: bool
) -> tuple[RatedRecords, NDArray[np.float64]]:
    """Return the rated records of some rows, and the session of each; that of new ones is infinite."""
    reports, newest = rows.reports, np.arange(len(rows) - len(rows.recent), len(rows))
    order = rows.order[newest].tolist()
    names = {
        kind: np.array([column[row] for row in order] if column else [""] * len(order), str)
        for kind, column in (("rater", reports.raters), ("source", reports.sources))
    }
    positions = np.flatnonzero((names["rater"] != "") | (names["source"] != ""))
    is_new = rows.is_new[newest]
    sessions = np.array([float(reports.session_ids[row] or 0) for row in order])
    records = RatedRecords(
        rows.recent,
        rows.scores[newest],
        np.full(len(newest), num_rows) if is_waiting else newest,
        np.array([reports.anomaly_ids[row] or "" for row in order], str),
        is_new,
        names,
    )
    return records.select(positions), np.where(is_new, np.inf, sessions)[positions]


def find_rater_shifts(rows: TrainingSet, records: RatedRecords) -> list[RaterShift]:
    """Return the raters and sources of new records whose newest scores follow another rule.

    Parameters
    ----------
    records : RatedRecords
        Of these rows, and of those that wait in quarantine.
    """
    shifts: list[RaterShift] = []
    tested: set[bytes] = set()
    for kind in KINDS:
        for name, positions in records.group(kind).items():
            window = records.select(positions[-WINDOW_ROWS:])
            # Where every record of a source has the same rater, the rater has been tested with it.
            if not window.is_new.any() or (key := positions.tobytes()) in tested:
                continue
            tested.add(key)
            shift = _test_rater(rows, window, kind, name)
            if shift is not None:
                shifts.append(shift)
    return shifts


def _test_rater(rows: TrainingSet, window: RatedRecords, kind: str, name: str) -> RaterShift | None:
    reference = rows.has_usable_score.copy()
    reference[window.index[window.index < len(rows)]] = False
    if reference.sum() < MIN_REFERENCE_ROWS:
        return None
    similar = find_similar(rows, window.reports, window.index, reference)
    compared = np.flatnonzero(similar.similarity[:, 0] >= MIN_SIMILARITY)
    if len(compared) < MIN_ROWS:
        return None
    known = to_levels(rows.usable_scores[reference][-MARGINAL_ROWS:])
    marginals = [share_levels(column) for column in known.T]
    evidence = detect_label_shift(
        expect_levels(rows, similar, marginals)[compared],
        window.scores[compared],
        marginals,
        np.arange(len(compared)),
        habits=HABITS,
    )
    # The detector adds up a bet from every record on: their mean is an e-value.
    log_e_value = evidence.log_e_value - math.log(len(compared))
    if log_e_value < MIN_LOG_E_VALUE:
        return None
    first = compared[evidence.first_batch]
    ids = [name for name in window.ids[first:].tolist() if name]
    return RaterShift(kind, name, evidence.hypothesis, log_e_value, ids)


def expect_levels(rows: TrainingSet, similar: SimilarRows, marginals: list[Floats]) -> Floats:
    """Return the probability of each level that similar reports suggest, shape (reports, 3, 5)."""
    weights = similar.weights * np.where(similar.same_equipment, SAME_EQUIPMENT_WEIGHT, 1.0)
    levels = to_levels(rows.usable_scores)[similar.rows]
    is_level = levels[:, :, :, None] == np.arange(1, NUM_LEVELS + 1)
    votes = (weights[:, :, None, None] * is_level).sum(axis=1) + PRIOR_WEIGHT * np.array(marginals)
    expected: Floats = votes / votes.sum(axis=2, keepdims=True)
    return expected
