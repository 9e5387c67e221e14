"""Files of records read line by line, however large: CSV or NDJSON, told apart by their names."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errors import MalformedBody


def is_ndjson(file: Path) -> bool:
    """Whether a file's name says that each of its lines is a JSON document."""
    return file.suffix.lower() in {".ndjson", ".jsonl", ".json"}


def first_line(file: Path) -> int:
    """The line on which the first record stands, for people."""
    return 1 if is_ndjson(file) else 2


def records_of(file: Path) -> Iterator[Any]:
    """Every record of a CSV or NDJSON file.

    Raises
    ------
    MalformedBody
        A line is no JSON; the message names it.
    """
    return _ndjson(file) if is_ndjson(file) else _csv(file)


def _csv(file: Path) -> Iterator[dict[str, Any]]:
    """Rows by column name; a byte order mark and ``;`` happen."""
    with file.open(encoding="utf-8-sig", newline="") as opened:
        header = opened.readline()
        opened.seek(0)
        yield from csv.DictReader(opened, delimiter=";" if header.count(";") > header.count(",") else ",")


def _ndjson(file: Path) -> Iterator[Any]:
    with file.open(encoding="utf-8-sig") as opened:
        for number, line in enumerate(opened, 1):
            try:
                yield json.loads(line) if line.strip() else None
            except json.JSONDecodeError as error:
                raise MalformedBody(f"{file}, line {number}: {error.msg}") from error
