"""Read the one sheet with content of an Excel or OpenDocument file; of a client's, in a child process with limits."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from errors import MalformedBody
from storage.datasets.limited_child import TooCostly, run_limited, serve_limited
from storage.text.table_cells import to_json

# Of zip archives (xlsx, xlsm, xlsb, ods), and of the older xls.
_SIGNATURES: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_MAX_SHOWN_SHEETS: Final = 10
_MAX_SHOWN_NAME: Final = 50


def is_workbook(body: bytes) -> bool:
    """Return whether bytes begin like a workbook rather than like a text."""
    return body.startswith(_SIGNATURES)


def read_workbook_in_child(body: bytes) -> bytes:
    """Return the sheet of a workbook as CSV in UTF-8.

    Raises
    ------
    MalformedBody
        As `read_sheet`, or it takes more time or memory than a file of its size may.
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


def read_sheet(workbook: Path | io.BytesIO) -> Sequence[Sequence[object]]:
    """Return the rows of the only sheet that is shown and has content.

    Raises
    ------
    MalformedBody
        It is no workbook, no sheet of it has content, or several have.
    """
    from python_calamine import CalamineError, SheetVisibleEnum, load_workbook

    sheets: dict[str, Sequence[Sequence[object]]] = {}
    try:
        opened = load_workbook(workbook)
        for number, sheet in enumerate(opened.sheets_metadata):
            if sheet.visible == SheetVisibleEnum.Visible:
                rows = opened.get_sheet_by_index(number).to_python(skip_empty_area=False)
                if any(str(cell).strip() for row in rows for cell in row):
                    sheets[sheet.name] = rows
    except (CalamineError, OSError, ValueError, IndexError) as error:
        reason = str(error).partition("\n")[0][:300] or type(error).__name__
        raise MalformedBody(f"The file cannot be read as a workbook: {reason}") from error
    if not sheets:
        raise MalformedBody("The workbook has no cell with content in a sheet that is shown")
    if len(sheets) > 1:
        names = ", ".join(repr(name[:_MAX_SHOWN_NAME]) for name in list(sheets)[:_MAX_SHOWN_SHEETS])
        more = ", …" if len(sheets) > _MAX_SHOWN_SHEETS else ""
        raise MalformedBody(
            f"The workbook has {len(sheets)} sheets with content ({names}{more}): save the one to read as a file "
            "of its own, or hide the others"
        )
    return next(iter(sheets.values()))


def _write_sheet(task: str) -> None:
    """Read a workbook on standard input; write its sheet as CSV."""
    rows = read_sheet(io.BytesIO(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(write_csv(rows).encode())


if __name__ == "__main__":
    sys.exit(serve_limited(_write_sheet))
