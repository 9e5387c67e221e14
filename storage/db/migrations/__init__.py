"""The migrations of the tables, one step per file in ``versions/``. Alembic runs them in one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from errors import ConfigurationError

if TYPE_CHECKING:
    import sqlalchemy as sa

# The newest step. Named here so that a start with nothing to migrate need not import Alembic.
HEAD: Final = "0018"


def upgrade(connection: sa.Connection) -> None:
    """Bring the tables up to date in the connection's transaction.

    Raises
    ------
    ConfigurationError
        A newer Millwright made the tables.
    """
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
