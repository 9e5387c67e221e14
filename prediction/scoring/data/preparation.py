"""Stored reports split in time: the oldest train, the newest judge. The boundary moves in steps, rarely."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from errors import NotEnoughData
from prediction.contract import JSON, PreparedData, Resources
from prediction.scoring.data.training_set import TrainingSet, build_training_set
from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.model.hyperparameters import ScoringHyperparameters
from prediction.scoring.requests.intake import MIN_RECORDS
from prediction.splits import SplitCertificate
from storage.anomaly_reports.csv_store import SCORES, CsvStore

HELD_OUT_SHARE = 0.1
MAX_HELD_OUT = 2_000
BOUNDARY_STEPS = 40
"""The boundary stands at a multiple of about a fortieth of the rows, so that judged fits can be kept."""
MAX_ROWS_AFTER_ANCHOR = 256
"""So few rows behind the anchor hardly move its weights: the final fit has next to nothing to do."""


@dataclass(frozen=True)
class ScoringSplit:
    """What a training works on: the rows before ``boundary`` train, those from it on are held out.

    Parameters
    ----------
    features : ndarray of float32, shape (rows - start, width)
        Of the rows from ``start`` on; older rows train no weights.
    coverage : float
        Promised share of true levels in the conformal sets.
    anchor : int
        Between boundary and end: a fit on the rows before it is kept, and the final fit goes on from it.
    """

    chronicle: TrainingSet
    recipe: ScoringHyperparameters
    boundary: int
    anchor: int
    start: int
    features: Floats
    coverage: float
    resources: Resources


@dataclass(frozen=True, kw_only=True)
class PreparedReports(PreparedData):
    """The reports in order of time with their split."""

    split: ScoringSplit


def prepare(source: JSON, options: JSON, resources: Resources) -> PreparedReports:
    """Read the CSV files and the pending records, and split them by time.

    Raises
    ------
    NotEnoughData
        Fewer than ten reports, or a score that no training report has.
    DataFileInvalid
        A file cannot be read.
    """
    pending = json.loads(Path(source["pending"]).read_bytes()) if source["pending"] else []
    reports = CsvStore(Path(source["folder"])).read(pending)
    if len(reports) < MIN_RECORDS:
        said = f"Scoring needs {MIN_RECORDS} reports or more, there are {len(reports)}"
        raise NotEnoughData(said, rows=len(reports), needed=MIN_RECORDS)
    rows = build_training_set(reports, resources.cache_dir / "scoring", recent=_read_in_full(len(reports)))
    study = build_split(rows, ScoringHyperparameters(), options, resources)
    return PreparedReports(
        split=study,
        certificate=_certificate(study),
        fingerprint=fingerprint(study.chronicle, study.recipe),
        rows=len(reports),
        facts=_facts(study),
    )


def build_split(
    rows: TrainingSet, recipe: ScoringHyperparameters, options: JSON, resources: Resources
) -> ScoringSplit:
    """Rows with their split and their features."""
    step = boundary_step(len(rows))
    boundary = find_boundary(rows.past_counts, step)
    _refuse_scores_never_seen(rows, boundary)
    start = max(boundary - recipe.fitted_rows, 0)
    apart = min(step, MAX_ROWS_AFTER_ANCHOR)
    anchor = max(len(rows) // apart * apart, boundary)
    features = rows.features(recipe, start)
    return ScoringSplit(rows, recipe, boundary, anchor, start, features, options["coverage"], resources)


def _read_in_full(rows: int) -> int:
    """How many of the newest rows a training may ask for: fitted or held out, and the neighbours of these."""
    recipe = ScoringHyperparameters()
    return recipe.fitted_rows + recipe.neighbours + MAX_HELD_OUT + 2 * boundary_step(rows)


def boundary_step(rows: int) -> int:
    """A power of two, about a fortieth of the rows."""
    return int(2 ** (max(rows // BOUNDARY_STEPS, 1).bit_length() - 1))


def find_boundary(past_counts: Ints, step: int) -> int:
    """The first held-out row: at least a tenth of the rows follow, or 2,000.

    No moment lies on both sides of it. Where most reports carry one and the same time, they can only be
    parted in the order of arrival.
    """
    rows = len(past_counts)
    held_out = max(2, min(round(rows * HELD_OUT_SHARE), MAX_HELD_OUT))
    boundary = max((rows - held_out) // step * step, rows // 2)
    parted = int(past_counts[boundary])
    return parted if parted >= max(boundary // 2, 1) else boundary


def fingerprint(rows: TrainingSet, recipe: ScoringHyperparameters) -> str:
    """sha256 of everything a training on these rows reads."""
    return hashlib.sha256(recipe.digest.encode() + np.ascontiguousarray(rows.keys).tobytes()).hexdigest()


def _refuse_scores_never_seen(rows: TrainingSet, boundary: int) -> None:
    for column, score in enumerate(SCORES):
        if np.isnan(rows.usable_scores[:boundary, column]).all():
            raise NotEnoughData(
                f"No training report has a score for {score}: its CSV file is missing or holds other reports",
                score=score,
            )


def _certificate(study: ScoringSplit) -> SplitCertificate:
    return SplitCertificate(
        unit="row",
        method="time",
        train=[(0, study.boundary - 1)],
        test=[(study.boundary, len(study.chronicle) - 1)],
    )


def _facts(study: ScoringSplit) -> JSON:
    rows, reports = study.chronicle, study.chronicle.reports
    times = [reports.detected_at[place] for place in rows.order[[0, study.boundary, -1]].tolist()]
    levels = np.clip(np.floor(np.nan_to_num(rows.scores, nan=0.0) + 0.5), 0, 5).astype(int)
    return {
        "first_report": times[0],
        "held_out_from": times[1],
        "last_report": times[2],
        "training_rows": study.boundary,
        "held_out_rows": len(rows) - study.boundary,
        "new_rows": int(rows.new.sum()),
        "scored_by_rote": int(rows.default_scored.sum()),
        "recipe": study.recipe.digest,
        "reports_by_level": {
            score: np.bincount(levels[:, column], minlength=6)[1:].tolist()
            for column, score in enumerate(SCORES)
        },
    }
