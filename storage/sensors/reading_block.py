"""Many readings in one transaction: binary COPY on PostgreSQL, many rows per statement on SQLite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from storage.db.bulk_insert import insert_many

Array = NDArray[Any]

_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END: Final = b"\xff\xff"
# Bounds the memory for the rows of one statement: 5 MB as binary, some 30 MB as Python objects.
_ROWS_PER_INSERT: Final = 100_000


@dataclass(frozen=True)
class ReadingBlock:
    """Readings on their way in or out, column by column.

    Parameters
    ----------
    sensors : int64, shape (n,)
        Ids of the sensors.
    times : int64, shape (n,)
        Microseconds since 1970-01-01 UTC.
    values : float64, shape (n,)
        Raw values.
    """

    sensors: Array
    times: Array
    values: Array

    def __len__(self) -> int:
        return len(self.values)

    def select(self, positions: slice | Array) -> ReadingBlock:
        """Return the readings at these positions, or where a mask is true."""
        return ReadingBlock(self.sensors[positions], self.times[positions], self.values[positions])


def insert(connection: sa.Connection, tenant: str, block: ReadingBlock) -> None:
    """Write the readings in the order given, inside the connection's transaction."""
    for start in range(0, len(block), _ROWS_PER_INSERT):
        rows = block.select(slice(start, start + _ROWS_PER_INSERT))
        if connection.dialect.name == "postgresql":
            _copy(connection, tenant, rows)
        else:
            columns = {
                "sensor_id": rows.sensors.tolist(),
                "timestamp": rows.times.tolist(),
                "raw_value": rows.values.tolist(),
            }
            insert_many(connection, "readings", ("tenant", tenant), columns)


def _copy(connection: sa.Connection, tenant: str, block: ReadingBlock) -> None:
    """Write rows in PostgreSQL's binary COPY format; every row has the same length, so NumPy lays them out."""
    name = tenant.encode()
    layout = np.dtype(
        [
            ("fields", ">i2"),
            ("tenant_size", ">i4"),
            ("tenant", f"S{len(name)}"),
            ("sensor_size", ">i4"),
            ("sensor", ">i4"),
            ("time_size", ">i4"),
            ("time", ">i8"),
            ("value_size", ">i4"),
            ("value", ">f8"),
        ]
    )
    rows = np.empty(len(block), dtype=layout)
    rows["fields"], rows["tenant_size"], rows["tenant"] = 4, len(name), name
    rows["sensor_size"], rows["time_size"], rows["value_size"] = 4, 8, 8
    rows["sensor"], rows["time"], rows["value"] = block.sensors, block.times, block.values
    driver: Any = connection.connection
    statement = "COPY readings (tenant, sensor_id, timestamp, raw_value) FROM STDIN (FORMAT BINARY)"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_COPY_HEADER + rows.tobytes() + _COPY_END)
