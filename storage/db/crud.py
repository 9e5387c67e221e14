"""One table of rows that belong to tenants: page, get, insert, update, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from errors import NotFound
from storage.db.database import Database
from storage.db.tables import AnySelect

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
        What error messages call a row.
    """

    def __init__(self, database: Database, table: sa.Table, noun: str) -> None:
        self.database = database
        self.table = table
        self.noun = noun
        # PostgreSQL raises an error for a number beyond the type of the column; such an id has no row.
        self._max_id = 2**31 - 1 if type(table.c.id.type) is sa.Integer else 2**63 - 1

    def page(
        self,
        tenant: str,
        where: Where = (),
        limit: int = 100,
        after: int = 0,
        *,
        newest_first: bool = False,
    ) -> tuple[list[Row], int | None]:
        """Return rows in order of their id, and the id to continue after; None on the last page."""
        column = self.table.c.id
        query = self.query(tenant, where).order_by(column.desc() if newest_first else column)
        if after:
            query = query.where(column < after if newest_first else column > after)
        return self.fetch_page(query, limit)

    def fetch_page(self, query: AnySelect, limit: int) -> tuple[list[Row], int | None]:
        """Return the first rows of an ordered query, and the id to continue after; None on the last page."""
        with self.database.read() as connection:
            rows = [dict(row._mapping) for row in connection.execute(query.limit(limit + 1))]
        return rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None

    def get(self, tenant: str, row_id: int) -> Row:
        """Return one row.

        Raises
        ------
        NotFound
            No such row, or another tenant's.
        """
        if self.may_exist(row_id):
            with self.database.read() as connection:
                row = connection.execute(self.query(tenant, [self.table.c.id == row_id])).one_or_none()
            if row is not None:
                return dict(row._mapping)
        raise self._not_found(row_id)

    def insert(self, tenant: str, rows: Sequence[Mapping[str, object]]) -> list[int]:
        """Insert rows in one transaction and return their ids in the order given."""
        if not rows:
            return []
        statement = sa.insert(self.table).returning(self.table.c.id, sort_by_parameter_order=True)
        with self.database.write() as connection:
            self.announce(connection)
            ids = list(connection.execute(statement, [{**row, "tenant": tenant} for row in rows]).scalars())
            self.on_insert(connection, tenant, ids)
            return ids

    def announce(self, connection: sa.Connection) -> None:
        """Announce a transaction that is about to insert rows; only tables with watermarks listen."""

    def on_insert(self, connection: sa.Connection, tenant: str, ids: Sequence[int]) -> None:
        """Add to the transaction that has just inserted these rows; only tables with alarms do."""

    def update(self, tenant: str, row_id: int, values: Mapping[str, object]) -> Row:
        """Change one row and return it.

        Raises
        ------
        NotFound
            No such row, or another tenant's.
        """
        self.get(tenant, row_id)
        if values:
            with self.database.write() as connection:
                connection.execute(
                    sa.update(self.table).where(*self._is_row(tenant, row_id)).values(**values)
                )
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
            connection.execute(sa.delete(self.table).where(*self._is_row(tenant, row_id)))

    def count(self, tenant: str, where: Where = ()) -> int:
        """Return the number of rows."""
        query = sa.select(sa.func.count()).select_from(self.table)
        with self.database.read() as connection:
            return int(connection.execute(query.where(self.table.c.tenant == tenant, *where)).scalar_one())

    def query(self, tenant: str, where: Where = ()) -> AnySelect:
        """Return a query for the rows of a tenant, all columns."""
        return sa.select(self.table).where(self.table.c.tenant == tenant, *where)

    def _is_row(self, tenant: str, row_id: int) -> Where:
        """Return the conditions that only this row of the tenant meets."""
        return [self.table.c.tenant == tenant, self.table.c.id == row_id]

    def may_exist(self, row_id: int) -> bool:
        """Return whether a row could have this id at all."""
        return 0 < row_id <= self._max_id

    def _not_found(self, row_id: int) -> NotFound:
        """Return the error for an id without a row."""
        return NotFound(f"There is no {self.noun} {row_id}")
