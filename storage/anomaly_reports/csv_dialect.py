"""Format records for appending to a CSV file in its own dialect, reading no more than the file's ends."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from storage.anomaly_reports.csv_table import BOM, check_header, decode_first_line
from storage.filesystem.files import read_regular_file, storage_errors
from storage.text.csv_headers import detect_delimiter, match_columns

_HEAD_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class CsvDialect:
    """How to append to a file, read from its first lines and its last byte.

    Parameters
    ----------
    size : int
        Current size in bytes.
    header : list of str
        The column names in the file's order, required ones in their standard spelling.
    line_end : str
        How its lines end.
    prefix : str
        What the next append starts with: the header in a new file, the missing end of the last line.
    delimiter : str
        The character between cells.
    example : mapping of str to str
        The first record, by column.
    """

    size: int
    header: list[str]
    line_end: str
    prefix: str
    delimiter: str = ","
    example: Mapping[str, str] = field(default_factory=dict)

    def format(self, records: Iterable[Mapping[str, str]]) -> str:
        """Return the text to append: cells by column name; columns that only the plant knows stay blank."""
        rows = ([cells.get(name, "") for name in self.header] for cells in records)
        lines = [format_line(row, self.line_end, self.delimiter) for row in rows]
        return self.prefix + "".join(lines) if lines else ""


def read_dialect(file: Path, columns: Sequence[str]) -> CsvDialect:
    """Read how to append to a file; an absent or empty one will get a header of ``columns``.

    Raises
    ------
    DataFileInvalid
        The first line does not name the columns.
    ArtefactCorrupt, StorageFailed
        It is not a regular file, or not readable.
    """
    head = read_regular_file(file, _HEAD_BYTES) if os.path.lexists(file) else b""
    if not head:
        return CsvDialect(0, list(columns), "\n", format_line(columns, "\n"))
    first_line = decode_first_line(head)
    delimiter = detect_delimiter(first_line)
    text = head.removeprefix(BOM).decode("utf-8", errors="replace")
    records = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter)
    header = match_columns(next(records, []), columns)
    check_header(file, header, columns)
    example = dict(zip(header, next(filter(any, records), []), strict=False))
    line_end = "\r\n" if first_line.endswith("\r") else "\n"
    with storage_errors(file), file.open("rb") as opened:
        size = opened.seek(-1, os.SEEK_END) + 1
        prefix = "" if opened.read(1) == b"\n" else line_end
    return CsvDialect(size, header, line_end, prefix, delimiter, example)


def format_line(cells: Sequence[str], line_end: str, delimiter: str = ",") -> str:
    """Return cells as one CSV record, quoted only where a reader needs it."""
    special = {delimiter, '"', "\r", "\n"}
    quoted = [cell if special.isdisjoint(cell) else '"' + cell.replace('"', '""') + '"' for cell in cells]
    return delimiter.join(quoted) + line_end
