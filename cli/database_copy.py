"""Copy the whole database while the server runs."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from errors import ConfigurationError, Conflict, NotFound, StorageFailed


def file_suffix(url: str) -> str:
    """Return the usual file ending of a copy."""
    return ".db" if make_url(url).get_backend_name() == "sqlite" else ".dump"


def copy_database(url: str, target: Path) -> None:
    """Copy the database to a new file, completely or not at all.

    Raises
    ------
    Conflict
        The target exists.
    NotFound, ConfigurationError, StorageFailed
        There is no database or no ``pg_dump``, or the copy failed; no file is left behind.
    """
    if target.exists():
        raise Conflict(f"{target} exists already")
    parsed = make_url(url)
    part = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if parsed.get_backend_name() == "sqlite":
            _copy_sqlite(Path(parsed.database or ""), part)
        else:
            _dump_postgresql(parsed, part)
        _fsync(part)
        part.rename(target)
        _fsync(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise StorageFailed(f"The database could not be copied to {target}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _copy_sqlite(source: Path, part: Path) -> None:
    if not source.is_file():
        raise NotFound(f"There is no database {source} yet")
    uri = f"{source.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=30)) as live, closing(sqlite3.connect(part)) as copy:
        live.backup(copy)
        result = copy.execute("PRAGMA integrity_check").fetchone()[0]
    if result != "ok":
        raise StorageFailed(f"The copy of {source} is damaged: {result}")


def _dump_postgresql(url: URL, part: Path) -> None:
    if shutil.which("pg_dump") is None:
        raise ConfigurationError("pg_dump is not installed (Debian: apt-get install postgresql-client)")
    address = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    command = ["pg_dump", "--format=custom", f"--file={part}", f"--dbname={address}", "--no-password"]
    # Other users can read the arguments of a process, but not its environment.
    secret = {"PGPASSWORD": url.password} if url.password else {}
    process = subprocess.run(
        command, env={**os.environ, **secret}, capture_output=True, text=True, check=False
    )
    if process.returncode != 0:
        raise StorageFailed(f"pg_dump failed: {process.stderr.strip()}")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
