"""Whether the data of models is in order: files that can be read, records in quarantine, frozen champions.

Files are read again only after they have changed, because every request for /health asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import structlog

from errors import DataFileInvalid, MillwrightError
from prediction import registry
from prediction.contract import ModelKey, QuarantinedBatch, RecordStore
from storage.container import Storage
from storage.filesystem.files import FileSignature, stat_signature
from training.services.models import ModelService
from training.services.sessions import SessionService

log = structlog.get_logger()

T = TypeVar("T")

UNREADABLE: Final = "one of its data files cannot be opened; the log says why"
_MAX_NAMED_SESSIONS: Final = 3


@dataclass(frozen=True)
class FrozenChampion:
    """A champion that no training has replaced since other records came.

    Parameters
    ----------
    since : datetime
        When the first training after it was rejected.
    sessions : sequence of int
        The sessions that were rejected since, oldest first.
    """

    key: ModelKey
    since: datetime
    sessions: Sequence[int]


class DataHealth:
    """The data of models, as it is on the disk now."""

    def __init__(self, storage: Storage, sessions: SessionService, models: ModelService) -> None:
        self._storage = storage
        self._sessions = sessions
        self._models = models
        self._problems: dict[ModelKey, tuple[Sequence[FileSignature], str | None]] = {}
        self._quarantines: dict[ModelKey, tuple[Sequence[FileSignature], Sequence[QuarantinedBatch]]] = {}

    def problems(self) -> list[str]:
        """Return a sentence for everything that is wrong with the data of the default tenant's models."""
        sentences = []
        for family in registry.FAMILIES:
            key = ModelKey(family)
            if problem := self.problem(key):
                sentences.append(f"{family} cannot be trained: {problem}")
            elif frozen := self.frozen(key):
                sentences.append(describe_frozen(frozen, self.quarantined(key)))
        return sentences

    def problem(self, key: ModelKey) -> str | None:
        """Return what is wrong with a model's files, without their folder; None if nothing is."""

        def check(records: RecordStore) -> str | None:
            try:
                records.check_data(key, adopt=False)
            except DataFileInvalid as error:
                return error.message
            return None

        try:
            return self._read_once(key, self._problems, check, None)
        except MillwrightError as error:
            log.error("data_file_not_opened", model=str(key), reason=error.message)
            return UNREADABLE

    def quarantined(self, key: ModelKey) -> Sequence[QuarantinedBatch]:
        """Return the batches of a model that wait for somebody to accept, correct or undo them."""
        if not _takes_records(key):
            return ()
        try:
            return self._read_once(key, self._quarantines, lambda records: records.list_quarantined(key), ())
        except MillwrightError as error:
            log.error("quarantine_not_read", model=str(key), reason=error.message)
            return ()

    def frozen(self, key: ModelKey) -> FrozenChampion | None:
        """Return since when trainings of a model are rejected; None if the last one was promoted."""
        if not _takes_records(key):
            return None
        try:
            champion = self._models.champion(key)
        except MillwrightError:
            return None
        if champion is None:
            return None
        rejected = self._sessions.rejected_since(key, champion.manifest.get("session_id", 0))
        if not rejected:
            return None
        return FrozenChampion(key, rejected[0].ended_at or rejected[0].created_at, [s.id for s in rejected])

    def _read_once(
        self,
        key: ModelKey,
        cache: dict[ModelKey, tuple[Sequence[FileSignature], T]],
        read: Callable[[RecordStore], T],
        default: T,
    ) -> T:
        """Return what was read from a model's files, reading them only if they have changed."""
        settings = self._storage.settings
        records = registry.open_record_store(key.family, settings.data_dir, self._storage.database)
        files = records.data_files(key)
        if not files:
            return default
        signatures = _signatures(files)
        cached = cache.get(key)
        if cached is None or cached[0] != signatures:
            cached = signatures, read(records)
            if _signatures(files) != signatures:
                return default  # somebody is writing to them
            cache[key] = cached
        return cached[1]


def describe_frozen(frozen: FrozenChampion, quarantined: Sequence[QuarantinedBatch]) -> str:
    """Return since when a champion is frozen, by which sessions, and the calls that heal it."""
    named = ", ".join(map(str, frozen.sessions[:_MAX_NAMED_SESSIONS]))
    more = (
        f" and {len(frozen.sessions) - _MAX_NAMED_SESSIONS} more"
        if len(frozen.sessions) > _MAX_NAMED_SESSIONS
        else ""
    )
    plural = "s" if len(frozen.sessions) > 1 else ""
    sentence = (
        f"The trainings of {frozen.key} are rejected since {frozen.since:%Y-%m-%d %H:%M} UTC "
        f"(session{plural} {named}{more}), so the version before them serves"
    )
    if not quarantined:
        return f"{sentence}: GET /train/sessions/{frozen.sessions[0]} says why"
    waiting = sum(batch.records for batch in quarantined)
    first = quarantined[0].session_id
    return (
        f"{sentence}. {waiting} records wait in quarantine: POST /train/sessions/{first}/accept learns those "
        f"of session {first}, POST /train/undo/{first} removes them"
    )


def _takes_records(key: ModelKey) -> bool:
    entry = registry.FAMILIES.get(key.family)
    return entry is not None and entry.takes_records


def _signatures(files: Sequence[Path]) -> Sequence[FileSignature]:
    return [stat_signature(file) for file in files]
