"""What a version's manifest holds: written once by the session that made the version, and never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from storage.filesystem.checksummed_json import read_checksummed
from storage.models.figures import Figure


class FileRecord(TypedDict):
    """What a manifest says of one file."""

    size: int
    sha256: str
    mtime_ns: NotRequired[int]


class ModelRecord(TypedDict):
    """The key of the model."""

    family: str
    name: NotRequired[str]
    tenant: NotRequired[str]


class MetricRecord(TypedDict):
    """The headline metric: its name, unit and direction."""

    name: str
    unit: str
    higher_is_better: bool


class ScoresRecord(TypedDict):
    """Scores on held-out data; None stands for NaN and infinity, which JSON does not have."""

    headline: float | None
    metrics: Mapping[str, float | None]
    baselines: Mapping[str, float | None]
    held_out: int
    beats_baselines: bool


class CheckRecord(TypedDict):
    """One check of the gate, with its result as a sentence."""

    name: str
    passed: bool
    detail: str


class VerdictRecord(TypedDict):
    """The decision of the gate."""

    promoted: bool
    reasons: list[str]
    checks: list[CheckRecord]


class CertificateRecord(TypedDict):
    """The parts of the data as intervals of raw samples; see ``prediction.splits.SplitCertificate``."""

    unit: str
    method: str
    train: list[list[int]]
    validation: list[list[int]]
    test: list[list[int]]
    gap: int
    folds: NotRequired[list[CertificateRecord]]


class InfluenceRecord(TypedDict):
    """What one batch does to the model; see ``prediction.contract.BatchInfluence``."""

    session_id: int | None
    rows: int
    loss_change: float
    log_e_value: float
    hypothesis: str
    rater: NotRequired[str | None]


class SaferAnswerRecord(TypedDict):
    """A locked severe case that the version answers safer than the one before."""

    case: str
    score: str
    before: float
    after: float


class Manifest(TypedDict, total=False):
    """A manifest. Versions of earlier releases have fewer fields.

    ``parent`` and ``anchor`` are numbers of versions; ``facts`` is what the family says about its data, and
    ``figures`` are its charts; ``seconds`` is the duration of each stage.
    """

    format: int
    files: dict[str, FileRecord]
    seal: str
    model: ModelRecord
    version: int
    created_at: str
    session_id: int
    kind: str
    parent: int | None
    anchor: int | None
    influence: Sequence[InfluenceRecord]
    accept_of: int | None
    accepted_by: str | None
    safer_answers: Sequence[SaferAnswerRecord] | None
    accepted_at: str
    options: Mapping[str, Any]
    headline: MetricRecord
    metrics: ScoresRecord
    champion_metrics: ScoresRecord | None
    verdict: VerdictRecord | None
    figures: Sequence[Figure]
    certificate: CertificateRecord
    fingerprint: str
    rows: int
    facts: Mapping[str, Any]
    libraries: dict[str, str]
    seconds: dict[str, float]


def read_manifest(path: Path) -> Manifest:
    """Read the manifest in a file.

    Raises
    ------
    ArtefactCorrupt
        It is damaged, too large, or not a regular file.
    StorageFailed
        It cannot be read.
    """
    return cast("Manifest", read_checksummed(path))
