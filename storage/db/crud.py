"""One table of rows that belong to tenants: pages, one row, insert, change, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from errors import NotFound
from storage.db.database import Database

Row = dict[str, Any]
Where = Sequence[sa.ColumnElement[bool]]


class TenantTable:
    """Rows of one table, seen by one tenant at a time.

    Parameters
    ----------
    database : Database
    table : Table
        With the columns ``id`` and ``tenant``.
    noun : str
        What a row is called in an error.
    """

    def __init__(self, database: Database, table: sa.Table, noun: str) -> None:
        self.database = database
        self.table = table
        self.noun = noun

    def page(
        self, tenant: str, where: Where = (), limit: int = 100, after: int = 0
    ) -> tuple[list[Row], int | None]:
        """Rows in order of their id, and the id to go on after; None where there are no more."""
        query = self.query(tenant, where).where(self.table.c.id > after).order_by(self.table.c.id)
        with self.database.read() as connection:
            rows = [dict(row._mapping) for row in connection.execute(query.limit(limit + 1))]
        return rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None

    def get(self, tenant: str, row_id: int) -> Row:
        """One row.

        Raises
        ------
        NotFound
            No such row, or another tenant's.
        """
        if 0 < row_id <= self._largest():
            with self.database.read() as connection:
                found = connection.execute(self.query(tenant, [self.table.c.id == row_id])).one_or_none()
            if found is not None:
                return dict(found._mapping)
        raise self._missing(row_id)

    def insert(self, tenant: str, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """New rows in one transaction; their ids in the order given."""
        if not rows:
            return []
        made = sa.insert(self.table).returning(self.table.c.id, sort_by_parameter_order=True)
        with self.database.write() as connection:
            self.announce(connection)
            return list(connection.execute(made, [{**row, "tenant": tenant} for row in rows]).scalars())

    def announce(self, connection: sa.Connection) -> None:
        """Told of a transaction that is about to insert rows; nobody listens unless a table has marks."""

    def update(self, tenant: str, row_id: int, values: Mapping[str, Any]) -> Row:
        """Change one row and hand it back.

        Raises
        ------
        NotFound
            No such row, or another tenant's.
        """
        self.get(tenant, row_id)
        if values:
            with self.database.write() as connection:
                connection.execute(sa.update(self.table).where(*self._mine(tenant, row_id)).values(**values))
        return self.get(tenant, row_id)

    def delete(self, tenant: str, row_id: int) -> None:
        """Delete one row.

        Raises
        ------
        NotFound
            No such row, or another tenant's.
        """
        self.get(tenant, row_id)
        with self.database.write() as connection:
            connection.execute(sa.delete(self.table).where(*self._mine(tenant, row_id)))

    def count(self, tenant: str, where: Where = ()) -> int:
        """How many rows there are."""
        query = (
            sa.select(sa.func.count()).select_from(self.table).where(self.table.c.tenant == tenant, *where)
        )
        with self.database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def query(self, tenant: str, where: Where = ()) -> sa.Select[Any]:
        """The rows of a tenant, all columns."""
        return sa.select(self.table).where(self.table.c.tenant == tenant, *where)

    def _mine(self, tenant: str, row_id: int) -> Where:
        return [self.table.c.tenant == tenant, self.table.c.id == row_id]

    def _largest(self) -> int:
        """Ids above are no rows, and PostgreSQL would call them an error."""
        return 2**31 - 1 if type(self.table.c.id.type) is sa.Integer else 2**63 - 1

    def _missing(self, row_id: int) -> NotFound:
        return NotFound(f"There is no {self.noun} {row_id}")
