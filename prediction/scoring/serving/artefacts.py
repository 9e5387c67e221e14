"""The artefacts of a version: arrays and JSON, written by training, readable with NumPy alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON
from prediction.scoring.data.row_cache import Keys
from prediction.scoring.features.encoding import ENCODED, Encoded
from prediction.scoring.features.history_features import ReportTimeline
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.features.text_hashing import MAX_WORDS, SKETCH_WIDTH
from prediction.scoring.model.hyperparameters import ScoringHyperparameters
from storage.anomaly_reports.csv_store import SCORES

STATE_FILE = "scoring.json"
WEIGHTS_FILE = "weights.npz"
HISTORY_FILE = "history.npz"
EVIDENCE_FILE = "evidence.npz"
ROW_KEYS_FILE = "row_keys.npy"


@dataclass(frozen=True)
class ReferenceReports:
    """What evidence shows of a report, newest reports only.

    Parameters
    ----------
    keys : ndarray of uint64
        Names of the texts' embeddings in the cache.
    rows : list of mapping
        ``anomaly_id``, ``description`` and ``date`` of each report.
    scores : ndarray of float32, shape (reports, 3)
    """

    keys: Keys
    rows: list[JSON]
    scores: Floats


@dataclass(frozen=True)
class ScoringArtefacts:
    """Everything a predictor needs.

    Parameters
    ----------
    strangeness : list of ndarray
        Of the held-out reports, for each score, ascending: what conformal sets are cut from.
    facts : mapping
        JSON-able facts about the version: the sentence model, whether it beats its baselines.
    """

    recipe: ScoringHyperparameters
    weights: Floats
    timeline: ReportTimeline
    strangeness: list[Floats]
    past: ReferenceReports
    coverage: float
    facts: JSON = field(default_factory=dict)


def write(served: ScoringArtefacts, row_keys: Keys, folder: Path) -> None:
    """Write all artefacts into an empty folder."""
    state = {"recipe": asdict(served.recipe), "coverage": served.coverage, "facts": served.facts}
    (folder / STATE_FILE).write_text(json.dumps(state, indent=1, ensure_ascii=False))
    strange = dict(zip(SCORES, served.strangeness, strict=True))
    np.savez(folder / WEIGHTS_FILE, weights=served.weights, **strange)  # type: ignore[arg-type]
    np.savez(folder / HISTORY_FILE, **_history_arrays(served.timeline))  # type: ignore[arg-type]
    np.savez(
        folder / EVIDENCE_FILE,
        keys=served.past.keys,
        scores=served.past.scores,
        rows=np.frombuffer(json.dumps(served.past.rows, ensure_ascii=False).encode(), np.uint8),
    )
    np.save(folder / ROW_KEYS_FILE, row_keys)


def read(folder: Path) -> ScoringArtefacts:
    """Read what :func:`write` wrote.

    Raises
    ------
    OSError, ValueError, KeyError
        A file is missing or is no artefact of this format.
    """
    state = json.loads((folder / STATE_FILE).read_bytes())
    recipe = ScoringHyperparameters(
        **{**state["recipe"], "recency_rows": tuple(state["recipe"]["recency_rows"])}
    )
    weights = _arrays(folder / WEIGHTS_FILE)
    evidence = _arrays(folder / EVIDENCE_FILE)
    return ScoringArtefacts(
        recipe=recipe,
        weights=weights["weights"],
        timeline=_timeline(_arrays(folder / HISTORY_FILE)),
        strangeness=[weights[score] for score in SCORES],
        past=ReferenceReports(evidence["keys"], json.loads(evidence["rows"].tobytes()), evidence["scores"]),
        coverage=state["coverage"],
        facts=state["facts"],
    )


def keep_newest(timeline: ReportTimeline, count: int) -> ReportTimeline:
    """The timeline with only its newest reports in full."""
    keep = max(len(timeline.recent) - count, 0)
    return ReportTimeline(timeline.groups, timeline.scores, timeline.recent[keep:])


def _history_arrays(timeline: ReportTimeline) -> dict[str, NDArray[Any]]:
    words = timeline.recent["words"]
    return {
        "groups": np.ascontiguousarray(timeline.groups),
        "scores": timeline.scores,
        "sketches": np.ascontiguousarray(timeline.recent["sketch"]),
        "words": words[words != 0],
        "word_counts": (words != 0).sum(axis=1).astype(np.uint8),
    }


def _timeline(arrays: dict[str, NDArray[Any]]) -> ReportTimeline:
    counts = arrays["word_counts"]
    recent: Encoded = np.zeros(len(counts), ENCODED)
    if arrays["sketches"].shape != (len(counts), SKETCH_WIDTH):
        raise ValueError("the sketches do not fit the history")
    recent["sketch"] = arrays["sketches"]
    recent["groups"] = arrays["groups"][len(arrays["groups"]) - len(counts) :]
    places = np.arange(MAX_WORDS)[None, :] < counts[:, None]
    words = np.zeros((len(counts), MAX_WORDS), np.uint32)
    words[places] = arrays["words"]
    recent["words"] = words
    return ReportTimeline(arrays["groups"], arrays["scores"], recent)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}
