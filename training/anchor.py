"""The versions that a candidate is compared with: the champion, and the anchor, which is an earlier champion.

Compared with the present champion, each of many small bad batches does no harm worth mentioning. Compared with
a champion from before the recent sessions, they do so together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from errors import ArtefactCorrupt, MillwrightError, NotFound
from prediction.contract import ModelKey
from storage.container import Storage
from storage.db.sessions import StoredSession
from storage.models.versions import ModelVersion

# Newest sessions of a model that are searched.
_MAX_SESSIONS_BACK = 1000


def read_champion(storage: Storage, key: ModelKey) -> tuple[ModelVersion | None, str]:
    """Return the champion if it is intact; otherwise None and what is wrong with it."""
    try:
        champion = storage.versions.champion(key.path)
        if champion is not None:
            storage.versions.verify(champion)
    except (ArtefactCorrupt, NotFound) as error:
        return None, error.message
    return champion, ""


def find_anchor(
    storage: Storage, champion: ModelVersion, sessions: Sequence[StoredSession], now: datetime
) -> ModelVersion:
    """Return the last champion that is old enough, or the oldest there is.

    A version is old enough if it was trained ``anchor_days`` ago, or if ``anchor_records`` records have come
    since. The search ends where a person decided (an undo, an accept, a promotion by hand): what came before
    is not comparable any more.

    Parameters
    ----------
    sessions : sequence of StoredSession
        The model's sessions that stored records.
    """
    settings, anchor = storage.settings, champion
    while not _is_settled(anchor, sessions, settings.anchor_days, settings.anchor_records, now):
        parent = anchor.manifest.get("parent")
        if parent is None:
            return anchor
        try:
            version = storage.versions.get(champion.path, parent)
            storage.versions.verify(version)
        except MillwrightError:
            return anchor
        anchor = version
    return anchor


def _is_settled(
    version: ModelVersion, sessions: Sequence[StoredSession], days: int, records: int, now: datetime
) -> bool:
    manifest = version.manifest
    verdict = manifest.get("verdict")
    if manifest.get("kind") in {"undo", "accept"} or not (verdict is None or verdict.get("promoted", True)):
        return True
    if now - datetime.fromisoformat(manifest["created_at"]) >= timedelta(days=days):
        return True
    return sum(row.records_added for row in sessions if row.id > manifest["session_id"]) >= records


def list_stored(storage: Storage, key: ModelKey) -> Sequence[StoredSession]:
    """Return the newest sessions of a model that stored records."""
    return storage.sessions.list_stored(key.tenant, key.family, key.name, _MAX_SESSIONS_BACK)
