"""Read the rows of a body in Parquet or Arrow's formats, in a child process with limits of time and memory.

A small body may unfold to gigabytes, and a damaged one may crash a parser; neither must harm a web worker.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from errors import MalformedBody
from storage.datasets.tables.column_names import check_column_names

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, object]

_PROJECT: Final = Path(__file__).resolve().parents[2]
_MIN_MEMORY_BYTES: Final = 640 << 20
_MEMORY_PER_BYTE: Final = 40
_MIN_SECONDS, _SECONDS_PER_MB = 20.0, 1.0
# 500,000 rows of some ten channels fit; the web worker holds the text once.
_MAX_TEXT_BYTES: Final = 256 << 20
_BATCH_ROWS: Final = 65_536
_FAILED: Final = 3


def read_rows_in_child(body: bytes, max_rows: int) -> list[Row]:
    """Return the rows of a body, at most one more than ``max_rows``; empty cells are left out.

    Raises
    ------
    MalformedBody
        It is neither Parquet nor Arrow, or it takes more time or memory than a body of its size may.
    """
    seconds = _MIN_SECONDS + _SECONDS_PER_MB * len(body) / 1e6
    memory = _MIN_MEMORY_BYTES + _MEMORY_PER_BYTE * len(body)
    # Arrow's own allocator reserves address space that it never uses and that the limit would count.
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "storage.datasets.columnar",
        str(int(seconds) + 1),
        str(memory),
        str(max_rows),
    ]
    try:
        done = subprocess.run(
            command,
            input=body,
            cwd=_PROJECT,
            env=environment,
            capture_output=True,
            timeout=4 * seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _too_costly() from error
    if done.returncode == _FAILED:
        raise MalformedBody(f"The body cannot be read as Parquet or Arrow: {done.stderr.decode()}")
    if done.returncode:
        raise _too_costly()
    return [json.loads(line) for line in done.stdout.splitlines()]


def _too_costly() -> MalformedBody:
    return MalformedBody(
        "The body takes more time or memory to read than a body of its size may: send it in parts"
    )


def read_rows(body: bytes) -> Iterator[Row]:
    """Yield the rows of a Parquet file, an Arrow file or an Arrow stream as JSON has them.

    Raises
    ------
    MillwrightError
        A column's name cannot be used.
    pyarrow.ArrowException
        The bytes are none of that.
    """
    import pyarrow as pa

    batches = _open(body)
    for index, batch in enumerate(batches):
        if not index:
            check_column_names(batch.schema.names)
        columns = [_to_microseconds(column) for column in batch.columns]
        names = batch.schema.names
        for start in range(0, len(batch), _BATCH_ROWS):
            part = pa.RecordBatch.from_arrays(columns, names).slice(start, _BATCH_ROWS)
            for row in part.to_pylist():
                yield {name: _to_json(value) for name, value in row.items() if not _is_empty(value)}


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


def _is_empty(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _to_json(value: object) -> object:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value if isinstance(value, str | int | float | bool) else str(value)


def main() -> int:
    """Read a body on standard input; write a line of JSON for each row."""
    seconds, memory, max_rows = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    # RLIMIT_AS would count address space that Arrow's libraries map and never touch.
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    import pyarrow as pa

    from errors import MillwrightError

    size = 0
    try:
        for number, row in enumerate(read_rows(sys.stdin.buffer.read())):
            line = json.dumps(row) + "\n"
            size += len(line)
            if size > _MAX_TEXT_BYTES:
                return 1
            sys.stdout.write(line)
            if number >= max_rows:
                break
    except MemoryError:  # Arrow's own is an ArrowException as well.
        return 1
    except (pa.ArrowException, OSError, MillwrightError) as error:
        sys.stderr.write(str(error).partition("\n")[0][:300])
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
