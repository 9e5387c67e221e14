"""Opens everything that Millwright stores below one home folder."""

from __future__ import annotations

import os
import pwd
import weakref
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

import structlog

from errors import ConfigurationError, MillwrightError, NotFound
from settings import Settings
from storage.anomaly_reports.csv_store import CsvStore
from storage.backups.store import BackupStore
from storage.db.api_keys import ApiKeys
from storage.db.database import Database
from storage.db.idempotency import IdempotencyKeys
from storage.db.session_events import SessionEventStore
from storage.db.sessions import Session, SessionStore
from storage.db.workers import WebWorkers
from storage.filesystem import presence
from storage.filesystem.files import storage_errors
from storage.filesystem.locks import ProcessLock, training_lock
from storage.filesystem.presence import remove_abandoned
from storage.home import check_home
from storage.home_folders import HomeFolders
from storage.journal import Journal
from storage.journal_steps import JournalEntry, Move
from storage.models.champions import ChampionIndex
from storage.models.chosen_cases import ChosenCaseStore
from storage.models.versions import VersionStore

log = structlog.get_logger()

_SESSION_FIELDS = {field.name for field in fields(Session)} - {"id"}


@dataclass(frozen=True)
class Storage:
    """The stores of one home folder. Opening them starts no thread and no process."""

    settings: Settings
    folders: HomeFolders
    database: Database
    versions: VersionStore
    champions: ChampionIndex
    chosen_cases: ChosenCaseStore
    backups: BackupStore
    journal: Journal
    csv: CsvStore
    sessions: SessionStore
    session_events: SessionEventStore
    keys: ApiKeys
    idempotency: IdempotencyKeys
    workers: WebWorkers

    def training_lock(self, path: str) -> ProcessLock:
        """Return the training lock of the model with this path."""
        return training_lock(self.settings.run_dir, path)

    def recover(self) -> int:
        """Repair what dead processes left: finish their commit, delete their temporary files, fix the index.

        Returns
        -------
        int
            Number of files and folders deleted.

        Raises
        ------
        NotReady, StorageFailed, DiskFull
            It can be tried again later; no commit is lost.
        """
        with self.journal.hold_store_lock():
            if not self.champions.is_current():
                self.champions.rebuild()
            self.upgrade_ids()
            return self.remove_abandoned()

    def upgrade_ids(self) -> None:
        """Bring ids files of version 0.1 up to date. The caller holds the store lock."""
        home = self.settings.home
        for folder in (self.settings.data_dir, *(self.settings.data_dir / "tenants").glob("*/")):
            store = CsvStore(folder, home)
            try:
                if not store.needs_upgrade():
                    continue
                moves = store.plan_upgrade(self.journal.staging(f"upgrade-{folder.name}"))
            except MillwrightError:  # of a file that cannot be read the next training tells
                continue
            entry = JournalEntry("upgrade", moves=moves)
            # A commit that fails half-way stays pending: another one must not replace it.
            self.journal.commit(entry)
            with suppress(MillwrightError):  # without the note these files count as changed by hand, once
                store.note_committed(entry.changed_paths())

    def remove_abandoned(self) -> int:
        """Delete the temporary files of dead processes. The caller holds the store lock.

        Returns
        -------
        int
            Number of files and folders deleted.
        """
        settings = self.settings
        folders = [settings.data_dir, settings.run_dir, settings.models_dir, settings.backups_dir]
        folders += [settings.models_dir / path for path in self.versions.paths()]
        folders += (settings.data_dir / "datasets").glob("*/")
        folders.append(settings.data_dir / "tracking" / "waiting")
        for tree in (settings.data_dir / "pending", settings.data_dir / "tenants", settings.cache_dir):
            folders += [Path(folder) for folder, _, _ in os.walk(tree)]
        return sum(remove_abandoned(folder, settings.run_dir) for folder in folders)

    def close(self) -> None:
        """Close the database connections."""
        self.database.close()


def open_storage(settings: Settings) -> Storage:
    """Open everything below ``settings.home``, creating what does not exist yet.

    Raises
    ------
    ConfigurationError
        The database URL cannot be used, a newer Millwright made the tables, the database is another home's, or
        another user's files would become root's.
    NotReady, DiskFull, StorageFailed
        The disk or the database refuses.
    """
    _refuse_root(settings)
    for folder in (settings.data_dir, settings.models_dir, settings.backups_dir, settings.run_dir / "locks"):
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    presence.join(settings.run_dir)
    try:
        storage = _open_stores(settings)
    except BaseException:
        presence.leave(settings.run_dir)
        raise
    weakref.finalize(storage, presence.leave_later, settings.run_dir)
    try:
        storage.journal.finish_pending()
    except MillwrightError as error:  # what is in memory can serve; whoever reads the data files tries again
        log.warning("commit_pending", reason=error.message)
    return storage


def _open_stores(settings: Settings) -> Storage:
    database = Database(settings.database, settings.run_dir)
    database.migrate()
    stamp_file = settings.data_dir / "api_keys.stamp"
    home_file, folders = check_home(settings, database, stamp_file)
    versions, csv = VersionStore(settings.models_dir), CsvStore(settings.data_dir)
    sessions, champions = SessionStore(database, home_file.record_session), ChampionIndex(database, versions)
    recorder = _CommitRecorder(settings.home, sessions, champions, csv)
    return Storage(
        settings=settings,
        folders=folders,
        database=database,
        versions=versions,
        champions=champions,
        chosen_cases=ChosenCaseStore(database),
        backups=BackupStore(settings.backups_dir, settings.home, versions),
        journal=Journal(settings.home, settings.run_dir, versions, recorder.record, folders.check),
        csv=csv,
        sessions=sessions,
        session_events=SessionEventStore(database),
        keys=ApiKeys(database, stamp_file),
        idempotency=IdempotencyKeys(database, settings.run_dir),
        workers=WebWorkers(database, settings.run_dir),
    )


def _refuse_root(settings: Settings) -> None:
    """Refuse to leave files of root in a home that a service of another user works with."""
    if os.geteuid() != 0 or not settings.models_dir.exists():
        return
    owner = settings.models_dir.stat().st_uid
    if owner != 0:
        try:
            user = pwd.getpwuid(owner).pw_name
        except KeyError:
            user = f"#{owner}"
        raise ConfigurationError(
            f"{settings.home} belongs to the user {user}, who could not write to files of root. Run this as {user}:"
            f" sudo -u '{user}' …"
        )


@dataclass(frozen=True)
class _CommitRecorder:
    """Records in the database, and beside the CSV files, what a commit has changed.

    The journal cannot clear an entry before this succeeds, so that only an unavailable database may stop it.
    """

    home: Path
    sessions: SessionStore
    champions: ChampionIndex
    csv: CsvStore

    def record(self, entry: JournalEntry) -> None:
        """Record an entry whose files are in place. Doing it twice changes nothing."""
        csv_files = {file.relative_to(self.home).as_posix() for file in self.csv.files()}
        if csv_files & entry.changed_paths():
            with suppress(MillwrightError):  # the fingerprints are no part of the commit
                self.csv.note_committed(entry.changed_paths())
        models = _changed_models(entry)
        if models:
            self.champions.refresh(models)
        if entry.session_id is None or not entry.result:
            return
        columns = {name: value for name, value in entry.result.items() if name in _SESSION_FIELDS}
        details = {name: value for name, value in entry.result.items() if name not in _SESSION_FIELDS}
        if details:
            columns["details"] = {**columns.get("details", {}), **details}
        with suppress(NotFound):  # a session that was deleted meanwhile needs no result
            self.sessions.finish(entry.session_id, **columns)


def _changed_models(entry: JournalEntry) -> list[str]:
    """Return the paths of models that get a version or another champion."""
    targets = [move.target for move in entry.moves if isinstance(move, Move)]
    versions = [target.split("/") for target in targets if target.startswith("models/")]
    moved = {"/".join(parts[1:4]) for parts in versions if len(parts) > 4}
    return sorted(moved | {pointer.path for pointer in entry.pointers})
