"""The rows of a CSV text, with the lines on which an editor shows them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import islice


def number_rows(
    lines: Iterable[str], delimiter: str, *, skip_lines: int = 0, strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yield every row that is not an empty line, with the line on which it begins.

    Parameters
    ----------
    lines : iterable of str
        With their ends, as a text file opened with ``newline=""`` has them.
    skip_lines : int
        Lines above the first row; a quote in them opens nothing.

    Raises
    ------
    csv.Error
        The text is not CSV from some line on; the message begins with the line of that row.
    """
    lines = iter(lines)
    for _ in islice(lines, skip_lines):
        pass
    # csv counts the lines that it has consumed, and a quoted cell may span several: a row begins one line after the
    # end of the row before it.
    reader, last_line = csv.reader(lines, delimiter=delimiter, strict=strict), skip_lines
    try:
        for row in reader:
            if row:
                yield last_line + 1, row
            last_line = skip_lines + reader.line_num
    except csv.Error as error:
        raise csv.Error(f"line {last_line + 1}: {error}") from error
