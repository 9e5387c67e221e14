"""Here migrations are the point."""

from __future__ import annotations

import pytest

from storage.db import migrations


@pytest.fixture(autouse=True)
def real_migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every step of the migrations."""
    monkeypatch.setattr("storage.db.database.upgrade", migrations.upgrade)
