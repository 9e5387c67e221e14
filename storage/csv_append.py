"""What follows a CSV file's last byte: records in the file's own manner, reading no more than its ends."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.csv_table import BOM, check_header
from storage.files import read_regular, storage_errors

_SPECIAL: Final = re.compile('[",\r\n]')
_HEAD_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class Manner:
    """What an append to a file has to know, read from its first line and its last byte.

    Parameters
    ----------
    size : int
        Bytes it has now.
    header : list of str
        The column names, in the file's order.
    ending : str
        How its lines end.
    lead : str
        What the next append begins with: the header in a new file, the missing end of the last line.
    """

    size: int
    header: list[str]
    ending: str
    lead: str

    def text(self, records: Iterable[Mapping[str, str]]) -> str:
        """What to append: cells by column name; columns that only the plant knows stay blank."""
        lines = [format_line([cells.get(name, "") for name in self.header], self.ending) for cells in records]
        return self.lead + "".join(lines) if lines else ""


def read_manner(file: Path, columns: Sequence[str]) -> Manner:
    """How to append to a file; one that is absent or empty will get a header of ``columns``.

    Raises
    ------
    DataFileInvalid
        The first line does not name the columns.
    ArtefactCorrupt, StorageFailed
        It is no regular file, or cannot be read.
    """
    head = read_regular(file, _HEAD_BYTES) if os.path.lexists(file) else b""
    if not head:
        return Manner(0, list(columns), "\n", format_line(columns, "\n"))
    first = head.removeprefix(BOM).decode("utf-8", errors="replace")
    header = next(csv.reader(io.StringIO(first, newline="\n")), [])
    check_header(file, header, columns)
    ending = "\r\n" if first.partition("\n")[0].endswith("\r") else "\n"
    with storage_errors(file), file.open("rb") as opened:
        size = opened.seek(-1, os.SEEK_END) + 1
        lead = "" if opened.read(1) == b"\n" else ending
    return Manner(size, header, ending, lead)


def format_line(cells: Sequence[str], ending: str) -> str:
    """Cells as one CSV record, quoted only where a reader needs it."""
    return ",".join(map(_quoted, cells)) + ending


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) else cell
