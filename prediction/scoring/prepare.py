"""Stored reports split in time: the oldest train, the newest judge. The boundary moves in steps, rarely."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from errors import NotEnoughData
from prediction.contract import JSON, Prepared, Resources
from prediction.scoring.chronicle import Chronicle, chronicle
from prediction.scoring.intake import FEWEST_RECORDS
from prediction.scoring.past import Floats, Ints
from prediction.scoring.recipe import Recipe
from prediction.splits import SplitCertificate
from storage.csv_store import SCORES, CsvStore

HELD_OUT_SHARE = 0.1
MOST_HELD_OUT = 2_000
STEPS_OF_BOUNDARY = 40
"""The boundary stands at a multiple of about a fortieth of the rows, so that judged fits can be kept."""
MOST_BEHIND_ANCHOR = 256
"""So few rows behind the anchor hardly move its weights: the final fit has next to nothing to do."""


@dataclass(frozen=True)
class Study:
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

    chronicle: Chronicle
    recipe: Recipe
    boundary: int
    anchor: int
    start: int
    features: Floats
    coverage: float
    resources: Resources


def prepare(source: JSON, options: JSON, resources: Resources) -> Prepared:
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
    if len(reports) < FEWEST_RECORDS:
        said = f"Scoring needs {FEWEST_RECORDS} reports or more, there are {len(reports)}"
        raise NotEnoughData(said, rows=len(reports), needed=FEWEST_RECORDS)
    rows = chronicle(reports, resources.cache_dir / "scoring", recent=_read_in_full(len(reports)))
    study = study_of(rows, Recipe(), options, resources)
    return Prepared(
        train=study,
        validation=None,
        test=study,
        certificate=_certificate(study),
        fingerprint=fingerprint(study.chronicle, study.recipe),
        rows=len(reports),
        facts=_facts(study),
    )


def study_of(rows: Chronicle, recipe: Recipe, options: JSON, resources: Resources) -> Study:
    """Rows with their split and their features."""
    step = boundary_step(len(rows))
    boundary = held_out_from(rows.moments, step)
    _refuse_scores_never_seen(rows, boundary)
    start = max(boundary - recipe.fitted_rows, 0)
    apart = min(step, MOST_BEHIND_ANCHOR)
    anchor = max(len(rows) // apart * apart, boundary)
    features = rows.features(recipe, start)
    return Study(rows, recipe, boundary, anchor, start, features, options["coverage"], resources)


def _read_in_full(rows: int) -> int:
    """How many of the newest rows a training may ask for: fitted or held out, and the neighbours of these."""
    recipe = Recipe()
    return recipe.fitted_rows + recipe.neighbours + MOST_HELD_OUT + 2 * boundary_step(rows)


def boundary_step(rows: int) -> int:
    """A power of two, about a fortieth of the rows."""
    return int(2 ** (max(rows // STEPS_OF_BOUNDARY, 1).bit_length() - 1))


def held_out_from(moments: Ints, step: int) -> int:
    """The first held-out row: at least a tenth of the rows follow, or 2,000.

    No moment lies on both sides of it. Where most reports carry one and the same time, they can only be
    parted in the order of arrival.
    """
    rows = len(moments)
    held_out = max(2, min(round(rows * HELD_OUT_SHARE), MOST_HELD_OUT))
    boundary = max((rows - held_out) // step * step, rows // 2)
    parted = int(moments[boundary])
    return parted if parted >= max(boundary // 2, 1) else boundary


def fingerprint(rows: Chronicle, recipe: Recipe) -> str:
    """sha256 of everything a training on these rows reads."""
    return hashlib.sha256(recipe.digest.encode() + np.ascontiguousarray(rows.keys).tobytes()).hexdigest()


def _refuse_scores_never_seen(rows: Chronicle, boundary: int) -> None:
    for column, score in enumerate(SCORES):
        if np.isnan(rows.trusted[:boundary, column]).all():
            raise NotEnoughData(
                f"No training report has a score for {score}: its CSV file is missing or holds other reports",
                score=score,
            )


def _certificate(study: Study) -> SplitCertificate:
    return SplitCertificate(
        unit="row",
        method="time",
        train=[(0, study.boundary - 1)],
        test=[(study.boundary, len(study.chronicle) - 1)],
    )


def _facts(study: Study) -> JSON:
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
        "scored_by_rote": int(rows.by_rote.sum()),
        "recipe": study.recipe.digest,
        "reports_by_level": {
            score: np.bincount(levels[:, column], minlength=6)[1:].tolist()
            for column, score in enumerate(SCORES)
        },
    }
