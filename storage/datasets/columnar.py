"""Read the rows of a body in Parquet or Arrow's formats, in a child process with limits of time and memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from errors import MalformedBody, MillwrightError
from storage.datasets.limited_child import TooCostly, run_limited, serve_limited
from storage.datasets.tables.column_names import check_schema
from storage.text.table_cells import Record, to_record

if TYPE_CHECKING:
    import pyarrow as pa

# 500,000 rows of some ten channels fit; the web worker holds the text once.
_MAX_TEXT_BYTES: Final = 256 << 20
_BATCH_ROWS: Final = 65_536


def read_rows_in_child(body: bytes, max_rows: int) -> list[Record]:
    """Return the rows of a body, at most one more than ``max_rows``; empty cells are left out.

    Raises
    ------
    MalformedBody
        It is neither Parquet nor Arrow, or it takes more time or memory than a body of its size may.
    InvalidContent
        A column's name cannot be used.
    """
    try:
        lines = run_limited(__name__, {"max_rows": max_rows}, len(body), body=body)
    except TooCostly as error:
        raise MalformedBody(
            "The body takes more time or memory to read than a body of its size may: send it in parts"
        ) from error
    return [json.loads(line) for line in lines.splitlines()]


def read_rows(body: bytes) -> Iterator[Record]:
    """Yield the rows of a Parquet file, an Arrow file or an Arrow stream as JSON has them.

    Raises
    ------
    InvalidContent
        A column's name cannot be used.
    MalformedBody
        The bytes are none of that, or a cell has no value that can be written as JSON.
    """
    import pyarrow as pa

    try:
        for index, batch in enumerate(_open(body)):
            if not index:
                check_schema(batch.schema)
            columns = [_to_microseconds(column) for column in batch.columns]
            names = batch.schema.names
            for start in range(0, len(batch), _BATCH_ROWS):
                part = pa.RecordBatch.from_arrays(columns, names).slice(start, _BATCH_ROWS)
                for row in part.to_pylist():
                    yield to_record(row.items())
    except (MemoryError, MillwrightError):  # Arrow's MemoryError is an ArrowException as well.
        raise
    # ValueError, OverflowError and LookupError come from Python's types: text that is not UTF-8, times beyond the
    # year 9999, unknown time zones.
    except (pa.ArrowException, OSError, ValueError, OverflowError, LookupError) as error:
        reason = str(error).partition("\n")[0][:300]
        raise MalformedBody(f"The body cannot be read as Parquet or Arrow: {reason}") from error


def _open(body: bytes) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    source = pa.BufferReader(body)
    if body[:4] == b"PAR1":
        yield from ParquetFile(source).iter_batches(_BATCH_ROWS)
    elif body[:6] == b"ARROW1":
        file = pa.ipc.open_file(source)
        yield from map(file.get_batch, range(file.num_record_batches))
    else:
        yield from pa.ipc.open_stream(source)


def _to_microseconds(column: pa.Array) -> pa.Array:
    # A time with nanoseconds has no value in Python without pandas.
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return column


def _write_rows(task: str) -> None:
    """Read a body on standard input; write a line of JSON for each row."""
    max_rows = json.loads(task)["max_rows"]
    size = 0
    for number, row in enumerate(read_rows(sys.stdin.buffer.read())):
        line = json.dumps(row) + "\n"
        size += len(line)
        if size > _MAX_TEXT_BYTES:
            raise TooCostly
        sys.stdout.write(line)
        if number >= max_rows:
            break


if __name__ == "__main__":
    sys.exit(serve_limited(_write_rows))
