"""A database of each kind."""

from __future__ import annotations

import pytest

from storage.db.database import Database


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """SQLite and PostgreSQL, with tables."""
    url = (
        f"sqlite:///{tmp_path / 'test.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    made = Database(url, tmp_path / "run")
    made.migrate()
    yield made
    made.close()
