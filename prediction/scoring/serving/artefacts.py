"""Artefacts of a version: arrays and JSON, written by training, readable with NumPy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.contract import artefact_errors
from prediction.scoring.data.row_cache import Keys
from prediction.scoring.features.encoding import ENCODED, Encoded
from prediction.scoring.features.history_features import ReportTimeline
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.features.text_hashing import MAX_WORDS, SKETCH_WIDTH
from prediction.scoring.model.conformal import Nonconformity
from prediction.scoring.model.hyperparameters import ScoringHyperparameters
from storage.anomaly_reports.reports import SCORES
from storage.filesystem.checked_write import save_array, save_arrays, save_json

STATE_FILE = "scoring.json"
WEIGHTS_FILE = "weights.npz"
HISTORY_FILE = "history.npz"
EVIDENCE_FILE = "evidence.npz"
ROW_KEYS_FILE = "row_keys.npy"

# Features of earlier formats cannot be computed any more.
MIN_FORMAT = 3

Arrays = dict[str, NDArray[Any]]


class ReferenceReport(TypedDict):
    """A past report as an answer shows it."""

    anomaly_id: str | None
    description: str
    date: str | None


class SimilarReport(ReferenceReport):
    """A past report with its scores, None where it has none, and its similarity from -1 to 1."""

    scores: dict[str, float | None]
    similarity: float


@dataclass(frozen=True)
class ReferenceReports:
    """The newest past reports, among which similar ones are searched.

    Parameters
    ----------
    keys : ndarray of uint64
        Hashes of the texts, by which the cache holds their embeddings.
    rows : list of ReferenceReport
    scores : ndarray of float32, shape (reports, 3)
    """

    keys: Keys
    rows: list[ReferenceReport]
    scores: Floats

    def select(self, index: NDArray[np.intp]) -> ReferenceReports:
        """Return some of the reports."""
        rows = [self.rows[row] for row in index.tolist()]
        return ReferenceReports(self.keys[index], rows, self.scores[index])


class TrainedSentenceModel(TypedDict, total=False):
    """The sentence model of a training; ``name`` is None where there was none, and ``absent`` says why."""

    name: str | None
    absent: str
    weights_sha256: str
    width: int


class VersionFacts(TypedDict):
    """What a version says of itself; ``rows`` are the reports that it was trained on."""

    sentence_model: TrainedSentenceModel | None
    rows: int


@dataclass(frozen=True)
class ScoringArtefacts:
    """Everything that a predictor needs.

    Parameters
    ----------
    nonconformity : list of Nonconformity
        Of the held-out reports, for each score: conformal sets are computed from it.
    cost : float
        Decides the score; 1 in versions of format 3.
    """

    hyperparameters: ScoringHyperparameters
    weights: Floats
    timeline: ReportTimeline
    nonconformity: list[Nonconformity]
    reference: ReferenceReports
    coverage: float
    cost: float
    facts: VersionFacts


def write_artefacts(artefacts: ScoringArtefacts, row_keys: Keys, folder: Path) -> None:
    """Write all artefacts into an empty folder."""
    state = {
        "hyperparameters": asdict(artefacts.hyperparameters),
        "coverage": artefacts.coverage,
        "cost": artefacts.cost,
        "facts": artefacts.facts,
    }
    save_json(folder / STATE_FILE, state)
    availability, fiability, process_safety = artefacts.nonconformity
    save_arrays(
        folder / WEIGHTS_FILE,
        weights=artefacts.weights,
        availability=availability.values,
        fiability=fiability.values,
        process_safety=process_safety.values,
        levels_of_availability=availability.levels,
        levels_of_fiability=fiability.levels,
        levels_of_process_safety=process_safety.levels,
    )
    timeline = artefacts.timeline
    words = timeline.recent["words"]
    save_arrays(
        folder / HISTORY_FILE,
        groups=np.ascontiguousarray(timeline.groups),
        scores=timeline.scores,
        sketches=np.ascontiguousarray(timeline.recent["sketch"]),
        # Most texts have far fewer words than fit: without the empty entries the file is a third as large.
        words=words[words != 0],
        word_counts=(words != 0).sum(axis=1).astype(np.uint8),
    )
    save_arrays(
        folder / EVIDENCE_FILE,
        keys=artefacts.reference.keys,
        scores=artefacts.reference.scores,
        rows=np.frombuffer(json.dumps(artefacts.reference.rows, ensure_ascii=False).encode(), np.uint8),
    )
    save_array(folder / ROW_KEYS_FILE, row_keys)


def read_artefacts(folder: Path) -> ScoringArtefacts:
    """Read what :func:`write_artefacts` wrote.

    Raises
    ------
    ArtefactCorrupt
        A file is missing or is not an artefact of this format.
    """
    with artefact_errors(f"Version {folder.name}"):
        state = json.loads((folder / STATE_FILE).read_bytes())
        weights = _read_arrays(folder / WEIGHTS_FILE)
        evidence = _read_arrays(folder / EVIDENCE_FILE)
        rows: list[ReferenceReport] = json.loads(evidence["rows"].tobytes())
        return ScoringArtefacts(
            hyperparameters=read_hyperparameters(state),
            weights=weights["weights"],
            timeline=_read_timeline(_read_arrays(folder / HISTORY_FILE)),
            nonconformity=[
                Nonconformity(
                    weights[score],
                    weights.get(f"levels_of_{score}", np.zeros(len(weights[score]), int)),
                )
                for score in SCORES
            ],
            reference=ReferenceReports(evidence["keys"], rows, evidence["scores"]),
            coverage=state["coverage"],
            cost=state.get("cost", 1.0),
            facts=state["facts"],
        )


def read_comparable(folder: Path) -> ScoringArtefacts | None:
    """Read a version whose features can still be computed; return None for one of an earlier format.

    Raises
    ------
    ArtefactCorrupt
        A file is missing or is not an artefact of this format.
    """
    with artefact_errors(f"Version {folder.name}"):
        hyperparameters = read_hyperparameters(json.loads((folder / STATE_FILE).read_bytes()))
    return read_artefacts(folder) if hyperparameters.format >= MIN_FORMAT else None


def read_hyperparameters(state: Mapping[str, Any]) -> ScoringHyperparameters:
    """Return the hyper-parameters in a version's state file; version 0.1 called them ``recipe``."""
    return ScoringHyperparameters.from_dict(state.get("hyperparameters") or state["recipe"])


def keep_newest(timeline: ReportTimeline, count: int) -> ReportTimeline:
    """Return the timeline with only its newest reports in full."""
    first = max(len(timeline.recent) - count, 0)
    return ReportTimeline(timeline.groups, timeline.scores, timeline.recent[first:])


def _read_timeline(arrays: Arrays) -> ReportTimeline:
    counts = arrays["word_counts"]
    recent: Encoded = np.zeros(len(counts), ENCODED)
    if arrays["sketches"].shape != (len(counts), SKETCH_WIDTH):
        raise ValueError("the sketches do not match the history")
    recent["sketch"] = arrays["sketches"]
    recent["groups"] = arrays["groups"][len(arrays["groups"]) - len(counts) :]
    words = np.zeros((len(counts), MAX_WORDS), np.uint32)
    words[np.arange(MAX_WORDS)[None, :] < counts[:, None]] = arrays["words"]
    recent["words"] = words
    return ReportTimeline(arrays["groups"], arrays["scores"], recent)


def _read_arrays(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
