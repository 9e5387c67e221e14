"""The severe cases that a plant has chosen to lock, for each model where it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from storage.db.database import Database
from storage.db.tables import chosen_cases as table
from storage.db.tables import utc_now


@dataclass(frozen=True)
class ChosenCases:
    """The ids of the cases, who chose them, and when."""

    cases: Sequence[str]
    chosen_by: str
    chosen_at: datetime


class ChosenCaseStore:
    """The table ``chosen_cases``. A restore does not touch it: it is an order of the plant, not data."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, path: str) -> ChosenCases | None:
        """Return the cases that were chosen for the model with this path; None where none were."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(table).where(_is_of(path))).one_or_none()
        return None if row is None else ChosenCases(row.cases, row.chosen_by, row.chosen_at)

    def set(self, path: str, cases: Sequence[str], chosen_by: str) -> None:
        """Choose cases for a model, in place of those before."""
        tenant, family, name = path.split("/")
        with self._database.write() as connection:
            connection.execute(sa.delete(table).where(_is_of(path)))
            row = {"tenant": tenant, "family": family, "name": name, "cases": list(cases)}
            connection.execute(sa.insert(table).values(**row, chosen_by=chosen_by, chosen_at=utc_now()))

    def clear(self, path: str) -> bool:
        """Forget the cases that were chosen for a model; return whether there were any."""
        with self._database.write() as connection:
            return bool(connection.execute(sa.delete(table).where(_is_of(path))).rowcount)


def _is_of(path: str) -> sa.ColumnElement[bool]:
    tenant, family, name = path.split("/")
    return sa.and_(table.c.tenant == tenant, table.c.family == family, table.c.name == name)
