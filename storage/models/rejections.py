"""Trainings that were rejected since the champion was promoted: they tell that it is frozen.

They are read from the manifests of the versions that such trainings left, so that the answer needs no database and
survives the loss of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from errors import MillwrightError
from storage.filesystem.files import FileSignature, stat_signature
from storage.models.manifest import read_manifest
from storage.models.versions import MANIFEST, VersionStore

# Manifests never change, so that they are read once; a summary takes about 500 bytes.
_MAX_SUMMARIES: Final = 4096

# A training that was asked not to promote says nothing against the champion.
_BY_HAND: Final = {"by_hand"}


@dataclass(frozen=True)
class Rejection:
    """A training on other data than the champion's that did not replace it.

    Parameters
    ----------
    version, session_id : int or None
        The version that it left, and its session.
    at : datetime
        When that version was made, in UTC.
    """

    version: int
    session_id: int | None
    at: datetime


@dataclass(frozen=True)
class _Summary:
    created_at: str
    session_id: int | None
    parent: int | None
    fingerprint: str | None
    is_rejected: bool


def list_rejections(versions: VersionStore, path: str) -> Sequence[Rejection]:
    """Return the trainings that were rejected since the champion was promoted, oldest first.

    A training that only confirms the champion is none: one on the champion's own data, or one that was asked not to
    promote. Whoever promotes or restores a version decides anew; only what is rejected later counts.

    Raises
    ------
    ArtefactCorrupt, StorageFailed
        The live pointer cannot be read.
    """
    champion = versions.pointer(path)
    if champion is None:
        return []
    promoted_ns = stat_signature(versions.pointer_file(path)).mtime_ns
    own = _read(versions, path, champion)
    rejections = []
    for number in versions.numbers(path):
        if number <= champion:
            continue
        summary = _read(versions, path, number, since_ns=promoted_ns)
        if (
            summary is not None
            and summary.is_rejected
            and summary.parent == champion
            and (own is None or summary.fingerprint is None or summary.fingerprint != own.fingerprint)
        ):
            at = datetime.fromisoformat(summary.created_at)
            rejections.append(Rejection(number, summary.session_id, at))
    return rejections


def _read(versions: VersionStore, path: str, number: int, since_ns: int = 0) -> _Summary | None:
    """Return what a manifest says; None where it is older than asked for, or cannot be read."""
    file = versions.folder(path, number) / MANIFEST
    try:
        signature = stat_signature(file)
        return _summarize(file, signature) if signature.mtime_ns >= since_ns else None
    except (MillwrightError, KeyError, ValueError, TypeError):
        return None


@lru_cache(maxsize=_MAX_SUMMARIES)
def _summarize(file: Path, signature: FileSignature) -> _Summary:
    manifest = read_manifest(file)
    verdict = manifest.get("verdict")
    checks = verdict.get("checks", ()) if verdict else ()
    failed = {check["name"] for check in checks if not check["passed"]}
    return _Summary(
        created_at=manifest["created_at"],
        session_id=manifest.get("session_id"),
        parent=manifest.get("parent"),
        fingerprint=manifest.get("fingerprint"),
        is_rejected=verdict is not None and not verdict.get("promoted", True) and failed != _BY_HAND,
    )
