"""Tables with a watermark: an id up to which all rows are visible and none is added any more.

SQLite has one writer at a time, so its highest id is a watermark. On PostgreSQL a slow insert may commit lower
ids than a quick one that started later. Every insert therefore announces, before its first row, the last id that
the sequence has given out. The announcement is a shared advisory lock that ends with its transaction. A watermark
lies below all running inserts and blocks none of them.
"""

from __future__ import annotations

import time
from typing import Final

import sqlalchemy as sa

from storage.db.crud import TenantTable

_MAX_WAIT_S: Final = 5.0
_POLL_S: Final = 0.02
# Which table a lock is about: 15 of its 64 bits. The last 48 bits are an id.
_TABLE: Final = "(CAST(CAST(CAST(:table AS text) AS regclass) AS oid)::bigint & 32767)"
_ANNOUNCE: Final = sa.text(
    f"SELECT pg_advisory_xact_lock_shared({_TABLE} << 48 | coalesce(pg_sequence_last_value("
    "CAST(pg_get_serial_sequence(CAST(:table AS text), 'id') AS regclass)), 0))"
)
_RUNNING_INSERTS: Final = sa.text(
    "SELECT (held.classid::bigint & 65535) << 32 | held.objid::bigint,"
    " coalesce(extract(epoch FROM clock_timestamp() - owner.xact_start) < :max_wait, false)"
    " FROM pg_locks AS held LEFT JOIN pg_stat_activity AS owner ON owner.pid = held.pid"
    " WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1"
    " AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    f" AND held.classid::bigint >> 16 = {_TABLE}"
)


class WatermarkedTable(TenantTable):
    """Rows of one table whose ids tell what had arrived at some moment."""

    def get_watermark(self) -> int:
        """Return an id up to which every row is visible and none is added any more; 0 before the first.

        Rows stored before the call are below it, unless they came later than an insert that has been running
        for five seconds or more: a watermark waits only for younger ones.
        """
        with self.database.read() as connection:
            highest: int = connection.execute(sa.select(sa.func.max(self.table.c.id))).scalar() or 0
        if self.database.engine.dialect.name != "postgresql":
            return highest
        while (running := self._list_running_inserts()) and any(
            is_young and last_id < highest for last_id, is_young in running
        ):
            time.sleep(_POLL_S)
        return min([highest, *(last_id for last_id, _ in running)])

    def announce(self, connection: sa.Connection) -> None:
        """Announce a transaction that is about to insert rows; call this before its first row."""
        if connection.dialect.name == "postgresql":
            connection.execute(_ANNOUNCE, {"table": self.table.name})

    def _list_running_inserts(self) -> list[tuple[int, bool]]:
        """Return the last id before each running insert, and whether it is young enough to wait for."""
        # Each call needs a transaction of its own: within one, PostgreSQL would show the same activity again.
        with self.database.read() as connection:
            rows = connection.execute(_RUNNING_INSERTS, {"table": self.table.name, "max_wait": _MAX_WAIT_S})
            return [(row[0], row[1]) for row in rows]
