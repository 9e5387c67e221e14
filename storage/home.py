"""What a home folder remembers of its database, so that neither can be lost or switched without notice.

``data/home.json`` holds the id of the home, which the database and the folders hold as well, the highest number
that a session ever had, and what was missing at a start. ``data/api_keys.stamp`` exists once there was an API key.
"""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
import structlog

from errors import ConfigurationError, DiskFull, MillwrightError
from settings import Settings
from storage.anomaly_reports.csv_store import IDS_FILE
from storage.db.database import Database
from storage.db.tables import api_keys, home, sessions
from storage.filesystem.checked_write import write_json
from storage.filesystem.checksummed_json import read_checksummed
from storage.filesystem.files import read_regular_file
from storage.filesystem.locks import ProcessLock
from storage.home_folders import HomeFolders, read_mark, write_mark
from storage.models.versions import MANIFEST
from storage.times import format_instant, parse_instant, utc_now

log = structlog.get_logger()


@dataclass(frozen=True)
class HomeRecord:
    """The content of ``data/home.json``.

    Parameters
    ----------
    is_marked : bool
        Whether the folders were given their marks.
    lost : mapping of str to datetime
        What was missing at a start, and when; see ``storage.home_folders``.
    """

    home_id: str
    last_session_id: int = 0
    is_marked: bool = False
    lost: Mapping[str, datetime] = field(default_factory=dict)


class HomeFile:
    """The file ``data/home.json``."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> HomeRecord | None:
        """Read the record; None where there is none, or it is damaged."""
        try:
            stored = json.loads(read_regular_file(self.file))
            lost = {str(name): parse_instant(at) for name, at in stored.get("lost", {}).items()}
            marked = bool(stored.get("is_marked"))
            return HomeRecord(str(stored["home_id"]), int(stored["last_session_id"]), marked, lost)
        except (MillwrightError, ValueError, TypeError, KeyError):
            return None

    def read_losses(self) -> Mapping[str, datetime]:
        """Return what was missing at a start of any process, and when."""
        record = self.read()
        return {} if record is None else record.lost

    def write(self, record: HomeRecord) -> None:
        """Replace the record."""
        lost = {name: format_instant(at) for name, at in record.lost.items()}
        write_json(self.file, {**asdict(record), "lost": lost})

    def record_session(self, session_id: int) -> None:
        """Remember the number of a new session."""
        record = self.read()
        if record is not None and record.last_session_id < session_id:
            self.write(replace(record, last_session_id=session_id))


def has_data(settings: Settings) -> bool:
    """Return whether a server or somebody else has put anything into this home folder."""
    files = (settings.data_dir / "home.json", settings.data_dir / "millwright.db")
    return any(file.exists() for file in files) or any(settings.data_dir.glob("*.csv"))


def check_home(settings: Settings, database: Database, stamp_file: Path) -> tuple[HomeFile, HomeFolders]:
    """Check that home, folders and database belong together, and that session numbers go on where they were.

    Raises
    ------
    ConfigurationError
        The database is another home's, or the API keys of this home are gone.
    """
    file = HomeFile(settings.data_dir / "home.json")
    lock = ProcessLock(settings.run_dir / "locks" / "home")
    with lock:
        record = file.read()
        with database.read() as connection:
            database_id = connection.execute(sa.select(home.c.home_id)).scalar()
            keys_exist = connection.execute(sa.select(api_keys.c.id).limit(1)).first() is not None
            last_id = int(connection.execute(sa.select(sa.func.max(sessions.c.id))).scalar() or 0)
        if stamp_file.exists() and not keys_exist:
            raise ConfigurationError(
                f"This home had API keys, and the database {database.name} has none: everybody would be let in."
                f" Use the database of this home again; or, if it is lost, delete {stamp_file}"
                " and create new keys."
            )
        home_id = _choose_id(settings, database, record, database_id)
        if record is None:
            last_id = max(last_id, *_session_ids_in_files(settings), 0)
        else:
            last_id = max(last_id, record.last_session_id)
        lost = {**(record.lost if record else {}), **_find_losses(settings, record, database_id)}
        for folder in (settings.models_dir, settings.backups_dir):
            if read_mark(folder) != home_id:
                write_mark(folder, home_id)
        if record != (present := HomeRecord(home_id, last_id, is_marked=True, lost=lost)):
            _write_record(file, present, record)
        if database_id is None:
            with database.write() as connection:
                connection.execute(sa.insert(home).values(id=1, home_id=home_id))
        _raise_sequence(database, last_id)
        if keys_exist and not stamp_file.exists():
            stamp_file.touch()
    return file, HomeFolders(settings, database, home_id, file.read_losses, lock)


def _write_record(file: HomeFile, present: HomeRecord, known: HomeRecord | None) -> None:
    """Remember what is so now. A full disk keeps no home from opening that is as it was, but for a number."""
    try:
        file.write(present)
    except DiskFull as error:
        if known is None or present != replace(known, last_session_id=present.last_session_id):
            raise
        log.warning("home_not_recorded", reason=error.message)


def _find_losses(
    settings: Settings, record: HomeRecord | None, database_id: str | None
) -> dict[str, datetime]:
    """Return what this home had at its last start and has not now."""
    folders = {"models": settings.models_dir, "model_backups": settings.backups_dir}
    missing = [name for name, folder in folders.items() if read_mark(folder) is None]
    if record is None:
        # A database that knows its home was in data/, and is there: only the record is damaged.
        missing = ["data"] if database_id is None and len(missing) < len(folders) else []
    elif not record.is_marked:
        missing = []  # the folders of an earlier version have no marks
    if record is not None and database_id is None:
        missing.append("database")
    for name in missing:
        log.error("home_incomplete", missing=name, home=str(settings.home))
    return dict.fromkeys(missing, utc_now())


def _choose_id(
    settings: Settings, database: Database, record: HomeRecord | None, database_id: str | None
) -> str:
    if record is None and database_id is None:
        return str(uuid.uuid4())
    if record is None:
        # The default database is a file of the home and has moved with it; another one may be anybody's.
        if not settings.database_url:
            return str(database_id)
        raise ConfigurationError(
            f"The database {database.name} belongs to another home folder. Set MILLWRIGHT_HOME to that folder; or,"
            f" if {settings.home} replaces it, write {json.dumps({'home_id': database_id, 'last_session_id': 0})}"
            f" to {settings.data_dir / 'home.json'}."
        )
    if database_id is not None and database_id != record.home_id:
        raise ConfigurationError(
            f"The database {database.name} belongs to another home folder than {settings.home}: check"
            " MILLWRIGHT_DATABASE_URL and MILLWRIGHT_HOME."
        )
    return record.home_id


def _session_ids_in_files(settings: Settings) -> Iterator[int]:
    """Yield every session number that data files, manifests and backups know."""
    for file in settings.data_dir.glob(f"**/{IDS_FILE}"):
        with file.open(encoding="utf-8", errors="replace", newline="") as rows:
            for row in csv.DictReader(rows):
                if (row.get("session_id") or "").isdecimal():
                    yield int(str(row["session_id"]))
    for file in (settings.data_dir / "pending").glob("session-*.json"):
        suffix = file.stem.removeprefix("session-")
        if suffix.isdecimal():
            yield int(suffix)
    manifests = [
        *settings.models_dir.glob(f"*/*/*/v*/{MANIFEST}"),
        *settings.backups_dir.glob(f"*/{MANIFEST}"),
    ]
    for file in manifests:
        try:
            number = read_checksummed(file).get("session_id")
        except MillwrightError:
            continue
        if isinstance(number, int):
            yield number


def _raise_sequence(database: Database, last_id: int) -> None:
    """Let the next session get a higher number than ``last_id``, whatever this database has seen."""
    is_sqlite = database.engine.dialect.name == "sqlite"
    if is_sqlite:
        query = sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'sessions'")
    else:
        query = sa.text("SELECT last_value FROM pg_sequences WHERE sequencename = 'sessions_id_seq'")
    with database.read() as connection:
        if int(connection.execute(query).scalar() or 0) >= last_id:
            return
    with database.write() as connection:
        if is_sqlite:
            connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = 'sessions'"))
            insert = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES ('sessions', :last)")
            connection.execute(insert, {"last": last_id})
        else:
            connection.execute(
                sa.text("SELECT setval(pg_get_serial_sequence('sessions', 'id'), :last)"), {"last": last_id}
            )
