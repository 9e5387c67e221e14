"""Files of records read line by line, however large: CSV or NDJSON, told apart by their names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errors import MalformedBody
from prediction.record_lines import Numbered, Unreadable, csv_records
from storage.csv_headers import delimiter_of
from storage.plain_text import complaint_about, no_text


def is_ndjson(file: Path) -> bool:
    """Whether a file's name says that each of its lines is a JSON document."""
    return file.suffix.lower() in {".ndjson", ".jsonl", ".json"}


def records_of(file: Path) -> Iterator[Numbered]:
    """Every record of a CSV or NDJSON file with its line; a line that holds none is `Unreadable`.

    Raises
    ------
    MalformedBody
        The file is no text in UTF-8, or no CSV from some line on; or there is no record in it.
    """
    if trouble := no_text(file):
        raise MalformedBody(f"{file} {trouble}")
    empty = True
    try:
        for record in _ndjson(file) if is_ndjson(file) else _csv(file):
            empty = False
            yield record
    except UnicodeDecodeError as error:
        raise MalformedBody(f"{file} {complaint_about(file)}") from error
    except MalformedBody as error:
        raise MalformedBody(f"{file}: {error.message}") from error
    if empty:
        raise MalformedBody(f"{file} is empty: there are no records in it")


def _csv(file: Path) -> Iterator[Numbered]:
    """Rows by column name; a byte order mark and ``;`` happen."""
    with file.open(encoding="utf-8-sig", newline="") as opened:
        delimiter = delimiter_of(opened.readline())
        opened.seek(0)
        yield from csv_records(opened, delimiter)


def _ndjson(file: Path) -> Iterator[Numbered]:
    with file.open(encoding="utf-8-sig") as opened:
        for number, line in enumerate(opened, 1):
            if line.strip():
                yield number, _document(line)


def _document(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return Unreadable(f"is not JSON: {error}")
