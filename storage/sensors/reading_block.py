"""Many readings in one durable transaction: binary COPY on PostgreSQL, many rows a statement on SQLite."""

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
_ROWS_A_BLOCK: Final = 100_000
_COLUMNS: Final = "tenant, sensor_id, timestamp, raw_value"


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

    def part(self, chosen: slice | Array) -> ReadingBlock:
        """The readings at these positions."""
        return ReadingBlock(self.sensors[chosen], self.times[chosen], self.values[chosen])


def insert(connection: sa.Connection, tenant: str, block: ReadingBlock) -> None:
    """Write the readings inside the connection's transaction, in the order given."""
    write = _copy if connection.dialect.name == "postgresql" else _insert_many
    for start in range(0, len(block), _ROWS_A_BLOCK):
        write(connection, tenant, block.part(slice(start, start + _ROWS_A_BLOCK)))


def _copy(connection: sa.Connection, tenant: str, block: ReadingBlock) -> None:
    """COPY in PostgreSQL's binary format: every row has the same length, so NumPy lays them out."""
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
    said = f"COPY readings ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
    with driver.cursor() as cursor, cursor.copy(said) as copy:
        copy.write(_COPY_HEADER + rows.tobytes() + _COPY_END)


def _insert_many(connection: sa.Connection, tenant: str, block: ReadingBlock) -> None:
    columns = {
        "sensor_id": block.sensors.tolist(),
        "timestamp": block.times.tolist(),
        "raw_value": block.values.tolist(),
    }
    insert_many(connection, "readings", ("tenant", tenant), columns)
