"""What a home folder remembers of its database, so that neither can be lost or switched without notice.

``data/home.json`` holds the id of the home, which the database holds as well, and the highest number that a
session ever had. ``data/api_keys.stamp`` exists once there was an API key.
"""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
import structlog

from errors import ConfigurationError, MillwrightError
from settings import Settings
from storage.anomaly_reports.csv_store import IDS_FILE
from storage.db.database import Database
from storage.db.tables import api_keys, home, sessions
from storage.filesystem.checksummed_json import read_checksummed
from storage.filesystem.files import read_regular_file, write_json
from storage.filesystem.locks import ProcessLock
from storage.models.versions import MANIFEST

log = structlog.get_logger()


@dataclass(frozen=True)
class HomeRecord:
    """The content of ``data/home.json``."""

    home_id: str
    last_session_id: int = 0


class HomeFile:
    """The file ``data/home.json``."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> HomeRecord | None:
        """Read the record; None where there is none, or it is damaged."""
        try:
            stored = json.loads(read_regular_file(self.file))
            return HomeRecord(str(stored["home_id"]), int(stored["last_session_id"]))
        except (MillwrightError, ValueError, TypeError, KeyError):
            return None

    def write(self, record: HomeRecord) -> None:
        """Replace the record."""
        stored = {"home_id": record.home_id, "last_session_id": record.last_session_id}
        write_json(self.file, stored)

    def record_session(self, session_id: int) -> None:
        """Remember the number of a new session."""
        record = self.read()
        if record is not None and record.last_session_id < session_id:
            self.write(HomeRecord(record.home_id, session_id))


def check_home(settings: Settings, database: Database, stamp_file: Path) -> HomeFile:
    """Check that home and database belong together, and that session numbers go on where they were.

    Raises
    ------
    ConfigurationError
        The database is another home's, or the API keys of this home are gone.
    """
    file = HomeFile(settings.data_dir / "home.json")
    lock = ProcessLock(settings.run_dir / "locks" / "home.lock")
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
        if record != HomeRecord(home_id, last_id):
            file.write(HomeRecord(home_id, last_id))
        if database_id is None:
            with database.write() as connection:
                connection.execute(sa.insert(home).values(id=1, home_id=home_id))
        _raise_sequence(database, last_id)
        if keys_exist and not stamp_file.exists():
            stamp_file.touch()
    return file


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
    if database_id is None:
        log.warning("database_is_new", database=database.name, home=str(settings.home))
    elif database_id != record.home_id:
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
