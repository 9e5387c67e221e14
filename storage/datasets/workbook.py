"""Read one sheet of an Excel or OpenDocument file: here, or in a child process with limits as a CSV text."""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from errors import MalformedBody
from storage.datasets.limited_child import TooCostly, run_limited, serve_limited
from storage.text.table_cells import to_json

Cells = Sequence[Sequence[object]]

_ZIP_MAGIC: Final = b"PK\x03\x04"
# Of zip archives (xlsx, xlsm, xlsb, ods), and of the older xls.
_SIGNATURES: Final = (_ZIP_MAGIC, b"\xd0\xcf\x11\xe0")
# The files that only the archive of a workbook has.
_WORKBOOK_PARTS: Final = frozenset({"xl/workbook.xml", "xl/workbook.bin", "content.xml"})
_MAX_NAMED_SHEETS: Final = 20


def is_workbook(body: bytes) -> bool:
    """Return whether bytes begin like a workbook rather than like a text."""
    return body.startswith(_SIGNATURES)


def is_workbook_file(path: Path) -> bool:
    """Return whether a file is a workbook, and no other archive."""
    with path.open("rb") as opened:
        start = opened.read(4)
    if start != _ZIP_MAGIC:
        return start in _SIGNATURES
    try:
        with zipfile.ZipFile(path) as archive:
            return not _WORKBOOK_PARTS.isdisjoint(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError):
        return False


def read_workbook_in_child(body: bytes, sheet: str | None = None) -> bytes:
    """Return a sheet of a workbook as CSV in UTF-8.

    Raises
    ------
    MalformedBody
        It takes more time or memory than a file of its size may, or what `read_sheet` raises.
    """
    try:
        return run_limited(__name__, {"sheet": sheet}, len(body), body=body)
    except TooCostly as error:
        raise MalformedBody(
            "The workbook takes more time or memory to read than a file of its size may: send it as CSV"
        ) from error


def read_sheet(source: Path | io.BytesIO, sheet: str | None = None) -> Cells:
    """Return the cells of a workbook's sheet, row by row.

    Parameters
    ----------
    sheet : str, optional
        Its name; not needed where one sheet alone is shown and has cells.

    Raises
    ------
    MalformedBody
        It is no workbook, has no cells or no such sheet, or several sheets have cells and none is named.
    """
    from python_calamine import CalamineError, SheetTypeEnum, SheetVisibleEnum, load_workbook

    try:
        workbook = load_workbook(source)
        tables = [entry for entry in workbook.sheets_metadata if entry.typ == SheetTypeEnum.WorkSheet]
        names = [entry.name for entry in tables if sheet in (None, entry.name)]
        if not names and sheet is not None:
            present = _list_names([entry.name for entry in tables])
            raise MalformedBody(f"The workbook has no sheet {sheet[:100]!r}, it has: {present}")
        if sheet is None:
            names = [entry.name for entry in tables if entry.visible == SheetVisibleEnum.Visible]
        sheets = {name: workbook.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in names}
    except (CalamineError, OSError, ValueError, IndexError) as error:
        reason = str(error).partition("\n")[0][:300] or type(error).__name__
        raise MalformedBody(f"The file cannot be read as a workbook: {reason}") from error
    filled = [name for name, rows in sheets.items() if any(str(cell).strip() for row in rows for cell in row)]
    if not filled:
        empty = (
            "The workbook is empty, or hides its sheets"
            if sheet is None
            else f"The sheet {sheet[:100]!r} is empty"
        )
        raise MalformedBody(f"{empty}: a row of column names and rows were expected")
    if len(filled) > 1:
        raise MalformedBody(
            f"The workbook has data in several sheets ({_list_names(filled)}): "
            "name one with the option sheet, or save it as a file of its own"
        )
    return sheets[filled[0]]


def write_csv(rows: Sequence[Sequence[object]]) -> str:
    """Return the cells of a sheet as CSV: numbers with a point, times as in RFC 3339."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([str(to_json(cell)) for cell in row] for row in rows)
    return text.getvalue()


def _list_names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:100]) for name in names[:_MAX_NAMED_SHEETS])
    return f"{shown}, …" if len(names) > _MAX_NAMED_SHEETS else shown


def _write_sheet(task: str) -> None:
    """Read a workbook on standard input; write a sheet as CSV."""
    rows = read_sheet(io.BytesIO(sys.stdin.buffer.read()), json.loads(task)["sheet"])
    sys.stdout.buffer.write(write_csv(rows).encode())


if __name__ == "__main__":
    sys.exit(serve_limited(_write_sheet))
