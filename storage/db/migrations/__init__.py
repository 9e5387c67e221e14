"""The migrations of the tables, one step per file in ``versions/``. Alembic runs them in one transaction."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from errors import ConfigurationError

if TYPE_CHECKING:
    import sqlalchemy as sa

# The newest step. Named here so that a start with nothing to migrate need not import Alembic.
HEAD: Final = "0018"
_DUPLICATE_TABLE: Final = "42P07"
_DUPLICATE_SENTENCE: Final = re.compile(r"(table|index) .* already exists")


def upgrade(connection: sa.Connection) -> None:
    """Bring the tables up to date in the connection's transaction.

    Raises
    ------
    ConfigurationError
        A newer Millwright made the tables, or another system has tables of the same names.
    """
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    # Alembic reads the option as a format string.
    config.set_main_option("script_location", str(Path(__file__).resolve().parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigurationError(
            f"The database was made by another (newer?) Millwright and cannot be used: {error}"
        ) from error
    except sa.exc.DBAPIError as error:
        reason = str(error.orig).partition("\n")[0]
        sqlstate: str | None = getattr(error.orig, "sqlstate", None)
        # SQLite has a sentence only; PostgreSQL's may be in any language. Either counts indexes among the tables.
        is_taken = _DUPLICATE_SENTENCE.fullmatch(reason) if sqlstate is None else sqlstate == _DUPLICATE_TABLE
        if not is_taken:
            raise
        raise ConfigurationError(
            f"The database has a table of another system, which Millwright leaves alone ({reason}): give Millwright a "
            "database or a schema of its own, as docs/migration.md shows"
        ) from error
