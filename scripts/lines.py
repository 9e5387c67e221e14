"""Files of records read line by line, however large: CSV or NDJSON, told apart by their names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errors import MalformedBody
from prediction.record_lines import Numbered, Unreadable, csv_records, delimiter_of


def is_ndjson(file: Path) -> bool:
    """Whether a file's name says that each of its lines is a JSON document."""
    return file.suffix.lower() in {".ndjson", ".jsonl", ".json"}


def records_of(file: Path) -> Iterator[Numbered]:
    """Every record of a CSV or NDJSON file with its line; a line that holds none is `Unreadable`.

    Raises
    ------
    MalformedBody
        The file is no text in UTF-8, or no CSV from some line on.
    """
    try:
        yield from _ndjson(file) if is_ndjson(file) else _csv(file)
    except UnicodeDecodeError as error:
        raise MalformedBody(f"{file} is not UTF-8: save it as UTF-8 and import it again") from error
    except MalformedBody as error:
        raise MalformedBody(f"{file}: {error.message}") from error


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
