"""Everything that is kept, opened together."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from errors import MillwrightError, NotFound
from settings import Settings
from storage.anomaly_reports.csv_store import CsvStore
from storage.backups.store import BackupStore
from storage.db.api_keys import ApiKeys
from storage.db.database import Database
from storage.db.idempotency import IdempotencyKeys
from storage.db.sessions import Session, SessionStore
from storage.db.workers import WebWorkers
from storage.filesystem.files import remove_abandoned, storage_errors
from storage.filesystem.locks import ProcessLock, store_lock, training_lock
from storage.journal import Journal, JournalEntry
from storage.models.versions import VersionStore


@dataclass(frozen=True)
class Storage:
    """The rooms of one home folder; nothing in it runs by itself."""

    settings: Settings
    database: Database
    versions: VersionStore
    backups: BackupStore
    journal: Journal
    csv: CsvStore
    sessions: SessionStore
    keys: ApiKeys
    idempotency: IdempotencyKeys
    workers: WebWorkers

    def training_lock(self, path: str) -> ProcessLock:
        """The training lock of the model with this path."""
        return training_lock(self.settings.run_dir, path)

    def sweep(self) -> int:
        """Delete what dead processes were making; call with the store lock held, after recovery.

        Returns
        -------
        int
            How many things were deleted.
        """
        settings = self.settings
        models = [settings.models_dir / path for path in self.versions.paths()]
        uploads = (settings.data_dir / "datasets").glob("*/")
        rooms = [settings.data_dir, settings.run_dir, settings.models_dir, settings.backups_dir]
        folders = [*rooms, *models, *uploads]
        for deep in (settings.data_dir / "pending", settings.data_dir / "tenants", settings.cache_dir):
            folders += [Path(folder) for folder, _, _ in os.walk(deep)]
        return sum(map(remove_abandoned, folders))

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()


def open_storage(settings: Settings) -> Storage:
    """Open, and make where there is nothing yet, everything below ``settings.home``.

    Raises
    ------
    ConfigurationError
        The database URL cannot be used, or its tables were made by a newer Millwright.
    NotReady, DiskFull, StorageFailed
        The disk or the database refuses.
    """
    for folder in (settings.data_dir, settings.models_dir, settings.backups_dir, settings.run_dir / "locks"):
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database, settings.run_dir)
    database.migrate()
    versions, csv = VersionStore(settings.models_dir), CsvStore(settings.data_dir)
    sessions = SessionStore(database)
    record = _recorder(sessions, csv)
    return Storage(
        settings=settings,
        database=database,
        versions=versions,
        backups=BackupStore(settings.backups_dir, settings.home, versions),
        journal=Journal(settings.home, store_lock(settings.run_dir), versions, record),
        csv=csv,
        sessions=sessions,
        keys=ApiKeys(database),
        idempotency=IdempotencyKeys(database),
        workers=WebWorkers(database),
    )


def _recorder(sessions: SessionStore, csv: CsvStore) -> Callable[[JournalEntry], None]:
    """What the journal does once an entry's files are in place.

    Until it succeeds nobody gets past the entry, so only a database that is away may stop it: a session that
    is gone has nobody to be told, and a fact without a column is kept among the session's details.
    """
    watched = {f"{csv.data_dir.name}/{file.name}" for file in csv.files()}
    columns = {part.name for part in fields(Session)} - {"id"}

    def record(entry: JournalEntry) -> None:
        if watched & entry.changed_paths():
            with suppress(MillwrightError):  # a note about the files, no part of the commit
                csv.note_committed()
        if entry.session_id is None or not entry.result:
            return
        told = {name: value for name, value in entry.result.items() if name in columns}
        others = {name: value for name, value in entry.result.items() if name not in columns}
        if others:
            told["details"] = {**told.get("details", {}), **others}
        with suppress(NotFound):
            sessions.finish(entry.session_id, **told)

    return record
