"""Split stored reports by time: the oldest train, the newest are held out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from errors import NotEnoughData
from prediction.contract import Options, PreparedData, Resources, TrainingSource
from prediction.scoring.data.record_store import MIN_RECORDS
from prediction.scoring.data.training_set import TrainingSet, build_training_set
from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.model.hyperparameters import NUM_LEVELS, ScoringHyperparameters, choose_cost
from prediction.splits import SplitCertificate
from storage.anomaly_reports.csv_store import SCORES, CsvStore

HELD_OUT_SHARE = 0.1
MAX_HELD_OUT = 2_000
# The boundary is a multiple of about a fortieth of the rows: it moves rarely, so that fits can be cached.
BOUNDARY_STEPS = 40
# So few rows after the anchor hardly move its weights: the final fit has next to nothing to do.
MAX_ROWS_AFTER_ANCHOR = 256


@dataclass(frozen=True)
class ScoringSplit:
    """Rows before ``boundary`` train, those from it on are held out.

    Parameters
    ----------
    anchor : int
        Between boundary and end: a fit on the rows before it is cached, and the final fit starts from it.
    start : int
        Older rows train no weights.
    features : ndarray of float32, shape (rows - start, width)
        Of the rows from ``start`` on.
    coverage : float
        Promised share of true levels in the conformal sets.
    cost : float
        How many times worse it is to score a severe report too low than a mild one too high.
    quarantined : TrainingSet, optional
        Reports that wait in quarantine. They are evidence about new ones; no fit and no history reads them.
    """

    training_set: TrainingSet
    hyperparameters: ScoringHyperparameters
    boundary: int
    anchor: int
    start: int
    features: Floats
    coverage: float
    cost: float
    resources: Resources
    quarantined: TrainingSet | None = None

    @property
    def held_out_features(self) -> Floats:
        """Features of the held-out rows."""
        return self.features[self.boundary - self.start :]


@dataclass(frozen=True, kw_only=True)
class PreparedReports(PreparedData):
    """The reports of one training."""

    split: ScoringSplit


def prepare(source: TrainingSource, options: Options, resources: Resources) -> PreparedReports:
    """Read the CSV files and the pending records, and split them by time.

    Raises
    ------
    NotEnoughData
        Fewer than ten reports, or a score that no training report has.
    DataFileInvalid
        A file cannot be read.
    """
    pending = json.loads(Path(source["pending"]).read_bytes()) if source["pending"] else []
    staged = Path(source["staged"]) if source.get("staged") else None
    reports, waiting = CsvStore(Path(source["folder"]), staged=staged).read_with_quarantined(pending)
    if len(reports) < MIN_RECORDS:
        message = f"Scoring needs {MIN_RECORDS} reports or more, there are {len(reports)}"
        raise NotEnoughData(message, rows=len(reports), needed=MIN_RECORDS)
    hyperparameters = ScoringHyperparameters()
    # Only so many of the newest rows are fitted or held out, or are neighbours of those.
    recent = hyperparameters.fitted_rows + hyperparameters.neighbours + MAX_HELD_OUT
    recent += 2 * boundary_step(len(reports))
    rows = build_training_set(reports, resources.cache_dir / "scoring", recent)
    split = build_split(rows, hyperparameters, options, resources)
    if waiting is not None and len(waiting):
        split = replace(split, quarantined=build_training_set(waiting, resources.cache_dir / "scoring"))
    return PreparedReports(
        split=split,
        certificate=SplitCertificate(
            unit="row",
            method="time",
            train=[(0, split.boundary - 1)],
            test=[(split.boundary, len(rows) - 1)],
        ),
        fingerprint=fingerprint(rows, hyperparameters),
        rows=len(reports),
        facts=_describe(split),
    )


def build_split(
    rows: TrainingSet, hyperparameters: ScoringHyperparameters, options: Options, resources: Resources
) -> ScoringSplit:
    """Return rows with their split and their features."""
    step = boundary_step(len(rows))
    boundary = find_boundary(rows.past_counts, step)
    for column, score in enumerate(SCORES):
        if np.isnan(rows.usable_scores[:boundary, column]).all():
            raise NotEnoughData(
                f"No training report has a score for {score}: its CSV file is missing or holds other reports",
                score=score,
            )
    start = max(boundary - hyperparameters.fitted_rows, 0)
    anchor_step = min(step, MAX_ROWS_AFTER_ANCHOR)
    anchor = max(len(rows) // anchor_step * anchor_step, boundary)
    return ScoringSplit(
        training_set=rows,
        hyperparameters=hyperparameters,
        boundary=boundary,
        anchor=anchor,
        start=start,
        features=rows.compute_features(hyperparameters, start),
        coverage=options["coverage"],
        cost=options.get("cost") or choose_cost(len(rows)),
        resources=resources,
    )


def boundary_step(rows: int) -> int:
    """Return a power of two, about a fortieth of the rows."""
    return int(2 ** (max(rows // BOUNDARY_STEPS, 1).bit_length() - 1))


def find_boundary(past_counts: Ints, step: int) -> int:
    """Return the first held-out row: at least a tenth of the rows follow, or 2,000.

    Reports of one moment are on one side of it. Where most reports have one and the same time, they can only
    be split in the order of arrival.
    """
    rows = len(past_counts)
    held_out = max(2, min(round(rows * HELD_OUT_SHARE), MAX_HELD_OUT))
    boundary = max((rows - held_out) // step * step, rows // 2)
    start_of_moment = int(past_counts[boundary])
    return start_of_moment if start_of_moment >= max(boundary // 2, 1) else boundary


def fingerprint(rows: TrainingSet, hyperparameters: ScoringHyperparameters) -> str:
    """Return the sha256 of everything that a training on these rows reads."""
    keys = np.ascontiguousarray(rows.keys).tobytes()
    return hashlib.sha256(hyperparameters.digest.encode() + keys).hexdigest()


def _describe(split: ScoringSplit) -> dict[str, object]:
    """Return facts for the manifest."""
    rows = split.training_set
    first, boundary, last = (
        rows.reports.detected_at[index] for index in rows.order[[0, split.boundary, -1]].tolist()
    )
    levels = np.clip(np.floor(np.nan_to_num(rows.scores, nan=0.0) + 0.5), 0, NUM_LEVELS).astype(int)
    return {
        "first_report": first,
        "held_out_from": boundary,
        "last_report": last,
        "training_rows": split.boundary,
        "held_out_rows": len(rows) - split.boundary,
        "new_rows": int(rows.is_new.sum()),
        "default_scored": int(rows.default_scored.sum()),
        "cost": split.cost,
        "hyperparameters": split.hyperparameters.digest,
        "reports_by_level": {
            score: np.bincount(levels[:, column], minlength=NUM_LEVELS + 1)[1:].tolist()
            for column, score in enumerate(SCORES)
        },
    }
