"""How the tables came to be, one step a file in ``versions/``; Alembic walks them, in one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from errors import ConfigurationError

if TYPE_CHECKING:
    import sqlalchemy as sa

HEAD: Final = "0007"
"""The newest step, so that a start with nothing to do need not import Alembic."""


def upgrade(connection: sa.Connection) -> None:
    """Bring the tables up to date inside the connection's transaction.

    Raises
    ------
    ConfigurationError
        The tables were made by a newer Millwright.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).resolve().parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigurationError(
            f"The database was made by another (newer?) Millwright and cannot be used: {error}"
        ) from error
