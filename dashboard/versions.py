"""A version of a model as pages show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from api.http.context import manager
from errors import ArtefactCorrupt, NotFound
from prediction.contract import ModelKey


@dataclass(frozen=True)
class VersionSummary:
    """A version as a page shows it; a damaged one has an ``error`` and nothing else."""

    number: int
    created_at: datetime | None = None
    session_id: int | None = None
    metrics: Mapping[str, object] | None = None
    beats_baselines: bool | None = None
    files: Sequence[str] = ()
    size_bytes: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    baselines: Mapping[str, float | None] = field(default_factory=dict)
    figures: Sequence[Mapping[str, Any]] = ()
    error: str = ""


def summarize_version(key: ModelKey, number: int) -> VersionSummary:
    """Return a version for a page; a damaged one says what is wrong with it."""
    try:
        manifest = manager().models.version(key, number).manifest
    except (ArtefactCorrupt, NotFound) as error:
        return VersionSummary(number, error=error.message)
    scores = manifest.get("metrics")
    return VersionSummary(
        number,
        datetime.fromisoformat(manifest["created_at"]),
        manifest.get("session_id"),
        {"headline": scores["headline"], **scores["metrics"]} if scores else {"headline": None},
        scores["beats_baselines"] if scores else None,
        sorted(manifest["files"]),
        sum(file["size"] for file in manifest["files"].values()),
        manifest.get("options") or {},
        scores["baselines"] if scores else {},
        manifest.get("figures") or (),
    )
