"""Files of records read line by line, however large: CSV or NDJSON, told apart by their names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errors import MalformedBody
from prediction.records.parsing import NumberedRecord, UnreadableLine, parse_csv_rows
from storage.text.csv_headers import detect_delimiter
from storage.text.encoding import describe_file_problem, describe_non_text


def is_ndjson(file: Path) -> bool:
    """Whether a file's name says that each of its lines is a JSON document."""
    return file.suffix.lower() in {".ndjson", ".jsonl", ".json"}


def read_numbered_records(file: Path) -> Iterator[NumberedRecord]:
    """Every record of a CSV or NDJSON file with its line; a line that holds none is `Unreadable`.

    Raises
    ------
    MalformedBody
        The file is no text in UTF-8, or no CSV from some line on; or there is no record in it.
    """
    if trouble := describe_non_text(file):
        raise MalformedBody(f"{file} {trouble}")
    empty = True
    try:
        for record in _ndjson(file) if is_ndjson(file) else _csv(file):
            empty = False
            yield record
    except UnicodeDecodeError as error:
        raise MalformedBody(f"{file} {describe_file_problem(file)}") from error
    except MalformedBody as error:
        raise MalformedBody(f"{file}: {error.message}") from error
    if empty:
        raise MalformedBody(f"{file} is empty: there are no records in it")


def _csv(file: Path) -> Iterator[NumberedRecord]:
    """Rows by column name; a byte order mark and ``;`` happen."""
    with file.open(encoding="utf-8-sig", newline="") as opened:
        delimiter = detect_delimiter(opened.readline())
        opened.seek(0)
        yield from parse_csv_rows(opened, delimiter)


def _ndjson(file: Path) -> Iterator[NumberedRecord]:
    with file.open(encoding="utf-8-sig") as opened:
        for number, line in enumerate(opened, 1):
            if line.strip():
                yield number, _document(line)


def _document(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return UnreadableLine(f"is not JSON: {error}")
