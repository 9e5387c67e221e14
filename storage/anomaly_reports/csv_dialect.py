"""What follows a CSV file's last byte: records in the file's own manner, reading no more than its ends."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from storage.anomaly_reports.csv_table import BOM, check_header, first_line
from storage.filesystem.files import read_regular_file, storage_errors
from storage.text.csv_headers import detect_delimiter, match_columns

_HEAD_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class CsvDialect:
    """What an append to a file has to know, read from its first lines and its last byte.

    Parameters
    ----------
    size : int
        Bytes it has now.
    header : list of str
        The column names, in the file's order, as they are asked for.
    ending : str
        How its lines end.
    lead : str
        What the next append begins with: the header in a new file, the missing end of the last line.
    delimiter : str
        What stands between its cells.
    example : mapping of str to str
        Its first record, by column.
    """

    size: int
    header: list[str]
    ending: str
    lead: str
    delimiter: str = ","
    example: Mapping[str, str] = field(default_factory=dict)

    def text(self, records: Iterable[Mapping[str, str]]) -> str:
        """What to append: cells by column name; columns that only the plant knows stay blank."""
        rows = ([cells.get(name, "") for name in self.header] for cells in records)
        lines = [format_line(row, self.ending, self.delimiter) for row in rows]
        return self.lead + "".join(lines) if lines else ""


def read_dialect(file: Path, columns: Sequence[str]) -> CsvDialect:
    """How to append to a file; one that is absent or empty will get a header of ``columns``.

    Raises
    ------
    DataFileInvalid
        The first line does not name the columns.
    ArtefactCorrupt, StorageFailed
        It is no regular file, or cannot be read.
    """
    head = read_regular_file(file, _HEAD_BYTES) if os.path.lexists(file) else b""
    if not head:
        return CsvDialect(0, list(columns), "\n", format_line(columns, "\n"))
    first = first_line(head)
    delimiter = detect_delimiter(first)
    text = head.removeprefix(BOM).decode("utf-8", errors="replace")
    records = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter)
    header = match_columns(next(records, []), columns)
    check_header(file, header, columns)
    example = dict(zip(header, next(filter(None, records), []), strict=False))
    ending = "\r\n" if first.endswith("\r") else "\n"
    with storage_errors(file), file.open("rb") as opened:
        size = opened.seek(-1, os.SEEK_END) + 1
        lead = "" if opened.read(1) == b"\n" else ending
    return CsvDialect(size, header, ending, lead, delimiter, example)


def format_line(cells: Sequence[str], ending: str, delimiter: str = ",") -> str:
    """Cells as one CSV record, quoted only where a reader needs it."""
    special = {delimiter, '"', "\r", "\n"}
    return delimiter.join(cell if special.isdisjoint(cell) else _quoted(cell) for cell in cells) + ending


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'
