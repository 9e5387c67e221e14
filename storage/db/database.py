"""The database: SQLite by default, PostgreSQL by URL, with the same few calls for both."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import exc

from errors import ConfigurationError, DiskFull, MillwrightError, NotReady, StorageFailed
from storage.db.migrations import HEAD, upgrade
from storage.filesystem.files import storage_errors
from storage.filesystem.locks import ProcessLock

_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=30000",
    "PRAGMA foreign_keys=ON",
)
_DISK_FULL_SIGNS: Final = ("disk is full", "No space left", "DiskFull")
# SQLite's codes where neither its index of the write-ahead log nor anything else can be written.
_UNWRITABLE: Final = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMMAP,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_WRITE,
}
# What SQLite says of a damaged or forbidden file. After any other operational error a retry may help.
_PERMANENT_SIGNS: Final = (
    "readonly",
    "malformed",
    "disk I/O",
    "no such",
    "unable to open",
    "not a database",
    "syntax",
)
_MIGRATION_TIMEOUT_S: Final = 60.0


class Database:
    """A database with short transactions.

    Parameters
    ----------
    url : str
        SQLAlchemy URL: ``sqlite:///…`` or ``postgresql+psycopg://…``.
    run_dir : Path
        Folder of the lock that is held while the tables are made.

    Raises
    ------
    ConfigurationError
        Millwright cannot use a database with this URL.
    """

    def __init__(self, url: str, run_dir: Path) -> None:
        try:
            parsed = sa.make_url(url)
            if parsed.get_backend_name() == "postgresql" and parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            self.engine = sa.create_engine(parsed, **_engine_options(parsed))
        except (exc.ArgumentError, ImportError) as error:
            raise ConfigurationError(f"The database URL cannot be used: {error}") from error
        self.name = parsed.render_as_string(hide_password=True)
        self._lock = ProcessLock(run_dir / "locks" / "migrate")
        self._file: Path | None = None
        self._inode: tuple[int, int] | None = None
        if self.engine.dialect.name == "sqlite":
            self._file = _find_sqlite_file(parsed)
            _prepare_sqlite(self.engine)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads.

        Raises
        ------
        NotReady, StorageFailed
            The database cannot be reached or refuses.
        """
        with self._translate_errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that writes: durable when the block ends, undone when it raises.

        Raises
        ------
        NotReady
            The database is locked or cannot be reached; a retry may help.
        DiskFull, StorageFailed
            It refuses. ``IntegrityError`` is passed on: the caller knows what it means.
        """
        with self._translate_errors(), self.engine.connect() as plain:
            connection = plain.execution_options(millwright_write=True)
            with connection.begin():
                yield connection

    def migrate(self) -> None:
        """Make the tables, or bring those of an older Millwright up to date. Quick where nothing is to do.

        Raises
        ------
        ConfigurationError
            A newer Millwright made the tables.
        NotReady, StorageFailed
            As :meth:`write`.
        """
        if self._file is not None and not self._file.exists():
            with storage_errors(self._file):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.touch()
        if self.revision() == HEAD:
            return
        if not self._lock.acquire(_MIGRATION_TIMEOUT_S):
            raise NotReady("Another process is still preparing the database.", retry_after=5)
        try:
            with self.write() as connection:
                upgrade(connection)
        finally:
            self._lock.release()

    def revision(self) -> str | None:
        """Return the newest migration the tables have; None before the first."""
        with self.read() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def is_read_only(self) -> bool:
        """Return whether there is no space to write, so that what is stored is only read."""
        with self._translate_errors(), self.engine.connect() as connection:
            return isinstance(connection.connection.dbapi_connection, _ReadOnlyConnection)

    def is_in_place(self) -> bool:
        """Return whether SQLite's file is still the one that was opened; an open one may have been deleted."""
        if self._file is None or self._inode is None:
            return True
        try:
            status = self._file.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._inode

    def ping(self) -> None:
        """Check that the database answers.

        Raises
        ------
        NotReady, StorageFailed
            It does not.
        """
        with self.read() as connection:
            connection.execute(sa.text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        self._check_file()
        try:
            yield
        except exc.IntegrityError:
            raise
        except exc.TimeoutError as error:
            raise NotReady("Every database connection is in use. Please try again.", retry_after=2) from error
        except exc.DBAPIError as error:
            raise self._translate(error) from error

    def _check_file(self) -> None:
        """Refuse to read or write a file that was deleted or moved while it was open: it may be lost."""
        if self._file is None:
            return
        if not self.is_in_place():
            error = NotReady(
                "The database file was deleted, moved or replaced while Millwright ran: put it back, or restart"
            )
            error.detail = self.name
            raise error
        if self._inode is None:
            with suppress(OSError):
                status = self._file.stat()
                self._inode = status.st_dev, status.st_ino

    def _translate(self, error: exc.DBAPIError) -> MillwrightError:
        reason = f"{type(error.orig).__name__}: {error.orig}".strip()
        translated: MillwrightError
        if any(sign in reason for sign in (*_DISK_FULL_SIGNS, _NO_WRITES)):
            translated = DiskFull("No space left for the database. Free some space and try again.")
        elif isinstance(error, exc.OperationalError) and not any(sign in reason for sign in _PERMANENT_SIGNS):
            translated = NotReady("The database is not available. Please try again.", retry_after=5)
        else:
            translated = StorageFailed("The database refused; the log says why")
        # The driver names host, user and files: everybody may cause this error, even without a key.
        translated.detail = f"{self.name}: {reason}"
        return translated


def _find_sqlite_file(url: sa.URL) -> Path | None:
    """Return the file of a SQLite database; None where it is in memory, or a URI of SQLite's own."""
    is_file = url.database and not url.database.startswith((":memory:", "file:"))
    return Path(str(url.database)) if is_file else None


def _engine_options(url: sa.URL) -> dict[str, object]:
    if url.get_backend_name() == "sqlite":
        options: dict[str, object] = {"pool_size": 5, "max_overflow": 40, "connect_args": {"timeout": 30}}
        if file := _find_sqlite_file(url):
            options["creator"] = partial(_connect_to_file, file.absolute().as_uri())
        return options
    return {"pool_size": 5, "max_overflow": 20, "pool_pre_ping": True, "pool_timeout": 10}


class _ReadOnlyConnection(sqlite3.Connection):
    """A connection to a database on a disk without space."""


_NO_WRITES: Final = "the disk has no space, the database is only read"


def _connect_to_file(address: str) -> sqlite3.Connection:
    """Connect to a file by its URI; only for reading where the disk has no space.

    SQLite needs 32 KB for the index of the write-ahead log before it reads anything. A connection with an exclusive
    lock keeps that index in memory, and with the VFS ``unix-none`` the lock keeps no other process out.
    """

    def connect(query: str, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{address}?{query}", timeout=30, uri=True, check_same_thread=False, factory=factory
        )

    # Unlike a plain path this never makes a file where the database has been moved away.
    connection = connect("mode=rw", sqlite3.Connection)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        return connection
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode not in _UNWRITABLE:
            raise
    connection = connect("mode=ro&vfs=unix-none", _ReadOnlyConnection)
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    return connection


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Let SQLAlchemy, not the driver, begin transactions.

    The driver would begin with a read lock, and two writers that upgrade it block each other. ``BEGIN
    IMMEDIATE`` takes the write lock at once, so that writers queue up.
    """

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None
        if not isinstance(connection, _ReadOnlyConnection):
            for pragma in _PRAGMAS:
                connection.execute(pragma)

    @sa.event.listens_for(engine, "checkin")
    def drop_read_only(connection: object, record: sa.pool.ConnectionPoolEntry) -> None:
        # It takes no locks, so it must not outlive the shortage: the next one may be able to write.
        if isinstance(connection, _ReadOnlyConnection):
            record.invalidate()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("millwright_write", False)
        if writes and isinstance(connection.connection.dbapi_connection, _ReadOnlyConnection):
            raise exc.OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError(_NO_WRITES))
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
