"""Read files of records: CSV, JSON, NDJSON, Excel and Parquet, told apart by their suffixes.

CSV, NDJSON and Parquet are read in pieces, so that a file may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from errors import DataFileInvalid, MalformedBody, StorageFailed
from prediction.records.parsing import NumberedRecord, UnreadableLine, number_records, parse_csv_rows
from storage.text.csv_headers import detect_delimiter
from storage.text.encoding import describe_file_problem, describe_non_text

Record = dict[str, Any]

NDJSON_SUFFIXES = {".ndjson", ".jsonl"}
WORKBOOK_SUFFIXES = {".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"}
SUFFIXES = {".csv", ".json", ".parquet", *NDJSON_SUFFIXES, *WORKBOOK_SUFFIXES}
_FIRST_DATA_ROW = 2


def read_records(file: Path) -> list[Record]:
    """Return the records of a file.

    Raises
    ------
    DataFileInvalid
        The file, or one of its lines, cannot be read; the message names it.
    """
    records = []
    for number, record in read_numbered_records(file):
        if isinstance(record, UnreadableLine):
            raise DataFileInvalid(f"{file}, line {number} {record}")
        if not isinstance(record, dict):
            raise DataFileInvalid(f"{file}, line {number} is not a JSON object")
        records.append(record)
    return records


def read_numbered_records(file: Path) -> Iterator[NumberedRecord]:
    """Yield every record with its line; a line without a record becomes an `UnreadableLine`.

    Raises
    ------
    DataFileInvalid
        The file is not what its suffix says, or it has no records.
    """
    suffix = file.suffix.lower()
    empty = True
    try:
        if suffix in WORKBOOK_SUFFIXES:
            records = _read_workbook(file)
        elif suffix == ".parquet":
            records = _read_parquet(file)
        else:
            records = _read_text(file, suffix)
        for record in records:
            empty = False
            yield record
    except UnicodeDecodeError as error:
        raise DataFileInvalid(f"{file} {describe_file_problem(file)}") from error
    except MalformedBody as error:
        raise DataFileInvalid(f"{file}: {error.message}") from error
    except OSError as error:
        raise StorageFailed(f"{file} cannot be read: {error.strerror}") from error
    if empty:
        raise DataFileInvalid(f"{file} is empty: there are no records in it")


def check_column_names(names: Sequence[str], source: object) -> None:
    """Raise DataFileInvalid for a name that appears twice: a record would silently keep the last value."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataFileInvalid(f"{source} has the column {twice[0]!r} twice")


def to_record(cells: Iterable[tuple[Any, object]]) -> Record:
    """Return the cells of a table's row as a record: JSON types only, empty cells left out."""
    return {name: _to_json(value) for name, value in cells if value is not None and value != ""}


def _to_json(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return int(value)  # a workbook has no integers: the sensor 13 is stored as 13.0
    return value if isinstance(value, str | int | float | bool) else str(value)


def _read_text(file: Path, suffix: str) -> Iterator[NumberedRecord]:
    if problem := describe_non_text(file):
        raise DataFileInvalid(f"{file} {problem}")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        if suffix not in NDJSON_SUFFIXES | {".json"}:
            delimiter = detect_delimiter(lines.readline())
            lines.seek(0)
            yield from parse_csv_rows(lines, delimiter)
        elif suffix == ".json" and (text := lines.read()).lstrip().startswith("["):
            yield from number_records(_parse_json(text, file))
        else:
            lines.seek(0)
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _parse_line(line)


def _parse_json(text: str, file: Path) -> list[Any]:
    try:
        records: list[Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataFileInvalid(f"{file} is not JSON: {error}") from error
    return records


def _parse_line(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return UnreadableLine(f"is not JSON: {error}")


def _read_workbook(file: Path) -> Iterator[NumberedRecord]:
    """Yield the rows of the first sheet."""
    from python_calamine import CalamineError, load_workbook

    try:
        header, *rows = load_workbook(file).get_sheet_by_index(0).to_python() or [[]]
    except CalamineError as error:
        raise DataFileInvalid(f"{file} cannot be read as a workbook: {error}") from error
    names = [str(name).strip() for name in header]
    check_column_names([name for name in names if name], file)
    for number, row in enumerate(rows, _FIRST_DATA_ROW):
        if record := to_record(zip(names, row, strict=False)):
            yield number, record


def _read_parquet(file: Path) -> Iterator[NumberedRecord]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        number, table = 0, ParquetFile(file)
        check_column_names(table.schema_arrow.names, file)
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, to_record(row.items())
    except pyarrow.ArrowException as error:
        raise DataFileInvalid(f"{file} cannot be read as Parquet: {error}") from error
