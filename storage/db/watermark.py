"""Rows with a high-water mark: an id up to which nothing arrives any more, however many write at once.

SQLite has one writer at a time, so its highest id is such a mark. On PostgreSQL a slow insert may commit
lower ids than a quick one that started later. Every insert therefore tells, before its first row, which id
was the last one given out: an advisory lock says so to everybody and goes with its transaction. A mark lies
below the inserts that are under way and blocks none of them.
"""

from __future__ import annotations

import time
from typing import Final

import sqlalchemy as sa

from storage.db.crud import TenantTable

_PATIENCE_S: Final = 5.0
_PAUSE_S: Final = 0.02


class WatermarkedTable(TenantTable):
    """Rows of one table whose ids tell what had arrived at some moment."""

    def get_watermark(self) -> int:
        """An id up to which no row is added any more, and every one can be read; 0 before the first.

        Whatever was stored before the call is below it, unless it came later than an insert that has been
        under way for five seconds or more: a mark waits for younger ones only.
        """
        with self.database.read() as connection:
            highest: int = connection.execute(sa.select(sa.func.max(self.table.c.id))).scalar() or 0
        if self.database.engine.dialect.name != "postgresql":
            return highest
        while (below := self._under_way()) and any(young and mark < highest for mark, young in below):
            time.sleep(_PAUSE_S)
        return min([highest, *(mark for mark, _ in below)])

    def announce(self, connection: sa.Connection) -> None:
        """Tell marks that this transaction is about to insert rows; call it before the first."""
        if connection.dialect.name == "postgresql":
            connection.execute(_ANNOUNCE, {"table": self.table.name})

    def _under_way(self) -> list[tuple[int, bool]]:
        """The last id before each running insert, and whether that is young; seen anew every time."""
        asked = {"table": self.table.name, "patience": _PATIENCE_S}
        with self.database.read() as connection:
            return [(row[0], row[1]) for row in connection.execute(_UNDER_WAY, asked)]


_TABLE: Final = "(CAST(CAST(CAST(:table AS text) AS regclass) AS oid)::bigint & 32767)"
"""Which table an advisory lock is about: 15 of its 64 bits; the last 48 are an id."""

_ANNOUNCE: Final = sa.text(
    f"SELECT pg_advisory_xact_lock_shared({_TABLE} << 48 | coalesce(pg_sequence_last_value("
    "CAST(pg_get_serial_sequence(CAST(:table AS text), 'id') AS regclass)), 0))"
)

_UNDER_WAY: Final = sa.text(
    "SELECT (held.classid::bigint & 65535) << 32 | held.objid::bigint,"
    " coalesce(extract(epoch FROM clock_timestamp() - owner.xact_start) < :patience, false)"
    " FROM pg_locks AS held LEFT JOIN pg_stat_activity AS owner ON owner.pid = held.pid"
    " WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1"
    " AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    f" AND held.classid::bigint >> 16 = {_TABLE}"
)
