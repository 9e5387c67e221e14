"""Turn the first sheet of an Excel or OpenDocument file into a CSV text, in a child process with limits."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from typing import Final

from errors import MalformedBody
from storage.datasets.limited_child import TooCostly, run_limited, serve_limited
from storage.text.table_cells import to_json

# Of zip archives (xlsx, xlsm, xlsb, ods), and of the older xls.
_SIGNATURES: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


def is_workbook(body: bytes) -> bool:
    """Return whether bytes begin like a workbook rather than like a text."""
    return body.startswith(_SIGNATURES)


def read_workbook_in_child(body: bytes) -> bytes:
    """Return the first sheet of a workbook as CSV in UTF-8.

    Raises
    ------
    MalformedBody
        It is no workbook, or takes more time or memory than a file of its size may.
    """
    try:
        return run_limited(__name__, {}, len(body), body=body)
    except TooCostly as error:
        raise MalformedBody(
            "The workbook takes more time or memory to read than a file of its size may: send it as CSV"
        ) from error


def write_csv(rows: Sequence[Sequence[object]]) -> str:
    """Return the cells of a sheet as CSV: numbers with a point, times as in RFC 3339."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([str(to_json(cell)) for cell in row] for row in rows)
    return text.getvalue()


def _write_first_sheet(task: str) -> None:
    """Read a workbook on standard input; write its first sheet as CSV."""
    from python_calamine import CalamineError, load_workbook

    try:
        workbook = load_workbook(io.BytesIO(sys.stdin.buffer.read()))
        rows = workbook.get_sheet_by_index(0).to_python(skip_empty_area=False)
    except (CalamineError, OSError, ValueError, IndexError) as error:
        reason = str(error).partition("\n")[0][:300] or type(error).__name__
        raise MalformedBody(f"The file cannot be read as a workbook: {reason}") from error
    sys.stdout.buffer.write(write_csv(rows).encode())


if __name__ == "__main__":
    sys.exit(serve_limited(_write_first_sheet))
