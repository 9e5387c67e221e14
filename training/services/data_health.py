"""Whether the data of models is in order: files that can be read, records in quarantine, frozen champions.

Files are read again only after they have changed, because every request for /health asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypedDict, TypeVar

import structlog

from errors import DataFileInvalid, MillwrightError
from prediction import registry
from prediction.contract import ModelKey, QuarantinedBatch, RecordStore
from storage.container import Storage
from storage.filesystem.files import FileSignature, stat_signature
from storage.models.rejections import list_rejections

log = structlog.get_logger()

T = TypeVar("T")

UNREADABLE: Final = "one of its data files cannot be opened; the log says why"
DEFAULT_TENANT: Final = "default"
_MAX_NAMED_SESSIONS: Final = 3
_MAX_NAMED_CHAMPIONS: Final = 3


class WaitingBatch(TypedDict):
    """Records of a session that wait in quarantine, as responses show them."""

    model: str
    training_session_id: int
    records: int
    since: str


@dataclass(frozen=True)
class WaitingRecords:
    """The records of a model that wait in quarantine, in batches, the oldest first. There is at least one."""

    key: ModelKey
    batches: Sequence[QuarantinedBatch]

    @property
    def records(self) -> int:
        """How many records wait."""
        return sum(batch.records for batch in self.batches)

    @property
    def since(self) -> str:
        """When the first of them came, in UTC."""
        return self.batches[0].since

    def describe(self) -> str:
        """Return how many records wait since when, and the calls that end it, as a sentence."""
        first = self.batches[0].session_id
        others = len(self.batches) - 1
        more = f" and {others} more" if others else ""
        return (
            f"{self.records} records wait in quarantine since {self.since} UTC (session{'s' if others else ''} "
            f"{first}{more}): POST /train/sessions/{first}/accept learns those of session {first}, "
            f"POST /train/undo/{first} removes them"
        )

    def to_dicts(self) -> list[WaitingBatch]:
        """Return the batches as responses show them."""
        return [
            {
                "model": str(self.key),
                "training_session_id": batch.session_id,
                "records": batch.records,
                "since": batch.since,
            }
            for batch in self.batches
        ]


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

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._problems: dict[ModelKey, tuple[Sequence[FileSignature], str | None]] = {}
        self._quarantines: dict[ModelKey, tuple[Sequence[FileSignature], Sequence[QuarantinedBatch]]] = {}

    def problems(self, tenant: str = DEFAULT_TENANT) -> list[str]:
        """Return a sentence for everything that is wrong with the data of a tenant's models."""
        sentences = []
        for family in registry.FAMILIES:
            if problem := self.problem(ModelKey(family, tenant=tenant)):
                sentences.append(f"{family} cannot be trained: {problem}")
        return sentences + self._describe_frozen_champions(tenant)

    def _describe_frozen_champions(self, tenant: str) -> list[str]:
        """Return a sentence for each frozen champion; of a family with many, for a few and for the rest."""
        sentences = []
        for family in self._storage.champions.counts(tenant):
            if not family.frozen:
                continue
            records = self._storage.champions.frozen(tenant, family.family, _MAX_NAMED_CHAMPIONS)
            keys = [ModelKey.from_path(record.path) for record in records]
            frozen = [champion for key in keys if (champion := self.frozen(key)) is not None]
            sentences += [describe_frozen(champion, self.waiting(champion.key)) for champion in frozen]
            if family.frozen > len(keys):
                sentences.append(f"{family.frozen - len(keys)} more champions of {family.family} are frozen")
        return sentences

    def problem(self, key: ModelKey) -> str | None:
        """Return what is wrong with a model's files, without their folder; None if nothing is."""

        def check(records: RecordStore) -> str | None:
            try:
                notes = records.check_data(key, adopt=False)
            except DataFileInvalid as error:
                return error.message
            return "; ".join(notes) or None

        try:
            return self._read_once(key, self._problems, check, None)
        except MillwrightError as error:
            log.error("data_file_not_opened", model=str(key), reason=error.message)
            return UNREADABLE

    def quarantined(self, key: ModelKey) -> Sequence[QuarantinedBatch]:
        """Return the batches of a model that wait for somebody to accept, correct or undo them."""
        entry = registry.FAMILIES.get(key.family)
        if entry is None or not entry.takes_records:
            return ()
        try:
            return self._read_once(key, self._quarantines, lambda records: records.list_quarantined(key), ())
        except MillwrightError as error:
            log.error("quarantine_not_read", model=str(key), reason=error.message)
            return ()

    def waiting(self, key: ModelKey) -> WaitingRecords | None:
        """Return the records of a model that wait in quarantine; None if none do."""
        batches = self.quarantined(key)
        return WaitingRecords(key, batches) if batches else None

    def all_waiting(self, tenant: str) -> list[WaitingRecords]:
        """Return the records that wait in quarantine, for each model of a tenant that has any."""
        return [waiting for key in self._keys(tenant) if (waiting := self.waiting(key))]

    def frozen(self, key: ModelKey) -> FrozenChampion | None:
        """Return since when trainings of a model are rejected; None if the last one was promoted."""
        try:
            rejections = list_rejections(self._storage.versions, key.path)
        except MillwrightError:
            return None  # a damaged pointer has a sentence of its own
        if not rejections:
            return None
        sessions = [row.session_id for row in rejections if row.session_id is not None]
        return FrozenChampion(key, rejections[0].at, sessions)

    def _keys(self, tenant: str) -> list[ModelKey]:
        """Return the models of a tenant whose sessions bring records; the default ones before their first version."""
        families = [name for name, entry in registry.FAMILIES.items() if entry.takes_records]
        defaults = [ModelKey(family, tenant=tenant) for family in families]
        records = [record for family in families for record in self._storage.champions.page(tenant, family)]
        return sorted({*defaults, *(ModelKey.from_path(record.path) for record in records)})

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


def describe_frozen(frozen: FrozenChampion, waiting: WaitingRecords | None) -> str:
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
    if waiting is None:
        return f"{sentence}: GET /train/sessions/{frozen.sessions[0]} says why"
    return f"{sentence}. {waiting.describe()}"


def _signatures(files: Sequence[Path]) -> Sequence[FileSignature]:
    return [stat_signature(file) for file in files]
