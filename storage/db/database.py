"""The database: SQLite by default, PostgreSQL by URL, with the same few calls for both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

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
_PERMANENT_SIGNS: Final = (
    "readonly",
    "malformed",
    "disk I/O",
    "no such",
    "unable to open",
    "not a database",
    "syntax",
)
"""What SQLite says of a damaged or forbidden file. After any other operational error a retry may help."""
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
        self._lock = ProcessLock(run_dir / "locks" / "migrate.lock")
        if self.engine.dialect.name == "sqlite":
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
        if self.engine.url.database and self.engine.dialect.name == "sqlite":
            folder = Path(self.engine.url.database).parent
            with storage_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
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
        try:
            yield
        except exc.IntegrityError:
            raise
        except exc.TimeoutError as error:
            raise NotReady("Every database connection is in use. Please try again.", retry_after=2) from error
        except exc.DBAPIError as error:
            raise self._translate(error) from error

    def _translate(self, error: exc.DBAPIError) -> MillwrightError:
        reason = f"{type(error.orig).__name__}: {error.orig}".strip()
        translated: MillwrightError
        if any(sign in reason for sign in _DISK_FULL_SIGNS):
            translated = DiskFull("No space left for the database. Free some space and try again.")
        elif isinstance(error, exc.OperationalError) and not any(sign in reason for sign in _PERMANENT_SIGNS):
            translated = NotReady("The database is not available. Please try again.", retry_after=5)
        else:
            translated = StorageFailed("The database refused; the log says why")
        # The driver names host, user and files: everybody may cause this error, even without a key.
        translated.detail = f"{self.name}: {reason}"
        return translated


def _engine_options(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"pool_size": 5, "max_overflow": 40, "connect_args": {"timeout": 30}}
    return {"pool_size": 5, "max_overflow": 20, "pool_pre_ping": True, "pool_timeout": 10}


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Let SQLAlchemy, not the driver, begin transactions.

    The driver would begin with a read lock, and two writers that upgrade it block each other. ``BEGIN
    IMMEDIATE`` takes the write lock at once, so that writers queue up.
    """

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("millwright_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
