"""Models, their versions, and which version serves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from errors import Conflict, MillwrightError, TrainingBusy
from prediction.contract import ModelKey
from prediction.severe_cases import SaferAnswer, describe_safer, describe_unknown, to_records
from storage.container import Storage
from storage.filesystem.checked_write import write_atomic
from storage.filesystem.checksummed_json import encode_checksummed
from storage.filesystem.files import remove_tree
from storage.filesystem.tidying import tidy_up
from storage.journal_steps import DataChanges, JournalEntry, Move, PointerChange
from storage.models.versions import MANIFEST, ModelVersion
from storage.times import utc_now
from training.services.backups import BackupService
from training.services.severe_cases import SevereCaseService
from training.services.stores import open_records
from training.services.worker_reload import WorkerReload

log = structlog.get_logger()

_LOCK_SECONDS = 0.1


@dataclass(frozen=True)
class Promotion:
    """A version that was made champion by hand.

    ``safer_answers`` are the locked severe cases that it answers safer; None where that cannot be told.
    """

    key: ModelKey
    version: int
    previous_version: int | None
    backup: str
    safer_answers: Sequence[SaferAnswer] | None = ()


class ModelService:
    """The models of a home folder."""

    def __init__(
        self,
        storage: Storage,
        backups: BackupService,
        worker_reload: WorkerReload,
        severe_cases: SevereCaseService,
    ) -> None:
        self._storage = storage
        self._versions = storage.versions
        self._backups = backups
        self._worker_reload = worker_reload
        self._severe_cases = severe_cases

    def keys(
        self, tenant: str, family: str | None = None, after: str = "", limit: int | None = None
    ) -> list[ModelKey]:
        """Return a tenant's models that have a version or a champion, in order of their names.

        Parameters
        ----------
        after : str
            The last model of the page before, as ``family/name``.
        """
        records = self._storage.champions.page(tenant, family, after, limit)
        return [ModelKey.from_path(record.path) for record in records]

    def exists(self, key: ModelKey) -> bool:
        """Return whether a model has a version."""
        return bool(self._versions.numbers(key.path))

    def sibling_names(self, key: ModelKey) -> list[str]:
        """Return the names of the models of the same family and tenant, at most a thousand."""
        return self._versions.sibling_names(key.path)

    def champion_number(self, key: ModelKey) -> int | None:
        """Return the number of the version that serves; None if no version was promoted.

        Raises
        ------
        ArtefactCorrupt
            The live pointer cannot be read.
        """
        return self._versions.pointer(key.path)

    def champion_numbers(self, keys: Iterable[ModelKey]) -> tuple[dict[ModelKey, int | None], list[ModelKey]]:
        """Return the numbers of the versions that serve, and the models whose live pointer is damaged."""
        numbers, damaged = self._versions.read_pointers([key.path for key in keys])
        readable = {ModelKey.from_path(path): number for path, number in numbers.items()}
        return readable, [ModelKey.from_path(path) for path in damaged]

    def version_numbers(self, key: ModelKey) -> list[int]:
        """Return the numbers of all versions of a model, ascending."""
        return self._versions.numbers(key.path)

    def version(self, key: ModelKey, number: int) -> ModelVersion:
        """Return a version with its manifest.

        Raises
        ------
        NotFound, ArtefactCorrupt
            There is no such version, or its manifest is damaged.
        """
        return self._versions.get(key.path, number)

    def champion(self, key: ModelKey) -> ModelVersion | None:
        """Return the version that serves; None if no version was promoted."""
        return self._versions.champion(key.path)

    def promote(self, key: ModelKey, number: int, accepted_by: str | None = None) -> Promotion:
        """Make a version the champion, whatever the gate said; the present one is backed up first.

        Parameters
        ----------
        accepted_by : str, optional
            Who accepts that locked severe cases are answered safer; kept in the version's manifest.

        Raises
        ------
        NotFound, ArtefactCorrupt
            There is no such version, or it is damaged.
        Conflict
            It answers locked severe cases safer, and nobody accepts that.
        TrainingBusy
            This model is being trained.
        """
        lock = self._storage.training_lock(key.path)
        if not lock.acquire(_LOCK_SECONDS):
            raise TrainingBusy(model=str(key))
        try:
            version = self.version(key, number)
            self._versions.verify(version)
            previous = self.champion_numbers([key])[0].get(key)
            safer = self._severe_cases.compare(key, self._severe_cases.lock(key), version)
            if accepted_by is None and (safer is None or safer):
                finding = describe_unknown(key) if safer is None else describe_safer(safer)
                raise Conflict(
                    f"{finding}. A person must put their name to that: send accepted_by",
                    safer_answers=to_records(safer),
                )
            backup = self._backups.create(key, key.tenant, f"before promoting {key} version {number}")
            # A name that nothing had to be accepted by would hide who accepted this version before.
            self._commit(key, version, accepted_by if safer is None or safer else None, safer)
        finally:
            lock.release()
        self._worker_reload.refresh()
        log.info("promoted", model=str(key), version=number, previous=previous, accepted_by=accepted_by)
        return Promotion(key, number, previous, f"model_backups/{backup.name}", safer)

    def _commit(
        self,
        key: ModelKey,
        version: ModelVersion,
        accepted_by: str | None,
        safer: Sequence[SaferAnswer] | None,
    ) -> None:
        """Move the pointer and, as this version has learnt them, release its session's records."""
        storage, manifest = self._storage, version.manifest
        session_id = manifest.get("accept_of") or manifest.get("session_id")
        records = open_records(storage, key.family)
        staging = storage.journal.staging(f"promote-{version.number}")
        try:
            changes = DataChanges()
            if session_id in {batch.session_id for batch in records.list_quarantined(key)}:
                changes = records.plan_release(key, session_id, staging)
            moves = list(changes.moves)
            if accepted_by is not None:
                acceptance = {
                    "accepted_by": accepted_by,
                    "accepted_at": utc_now().isoformat(timespec="seconds"),
                    "safer_answers": to_records(safer),
                }
                write_atomic(staging / MANIFEST, encode_checksummed({**manifest, **acceptance}))
                home = storage.settings.home
                moves.append(
                    Move(
                        (staging / MANIFEST).relative_to(home).as_posix(),
                        (version.folder / MANIFEST).relative_to(home).as_posix(),
                    )
                )
            pointer = PointerChange(key.path, version.number)
            with storage.journal.hold_store_lock():
                storage.journal.commit(JournalEntry("promote", moves=moves, pointers=[pointer]))
        except MillwrightError as error:
            if not error.facts.get("committed"):
                remove_tree(staging)
            raise
        with tidy_up("remove what promoted a version", model=str(key)):
            remove_tree(staging)
        with tidy_up("note the data files", model=str(key)):
            records.on_commit(key)

    def epoch(self) -> int:
        """Return a number that rises with every change of a live pointer."""
        return self._versions.epoch()

    def reload_epoch(self) -> int:
        """Return the last epoch at which every worker had to load its models again, moved or not."""
        return self._versions.reload_epoch()
