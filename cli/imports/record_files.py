"""Read files of records: CSV, JSON, NDJSON, Excel and Parquet, told apart by their suffixes.

CSV, NDJSON and Parquet are read in pieces, so that a file may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.http.strict_json import decode_json
from cli.console import echo_warning
from errors import DataFileInvalid, InvalidContent, MalformedBody, StorageFailed
from prediction.records.parsing import (
    CsvRecords,
    NumberedRecord,
    TableRecords,
    UnreadableLine,
    number_records,
    read_local_times,
)
from prediction.records.split_times import join_split_times
from storage.datasets.tables.column_names import check_schema
from storage.datasets.workbook import read_sheet
from storage.text.csv_layout import SAMPLE_LINES, find_table
from storage.text.dates import DateOrder
from storage.text.encoding import describe_file_problem, describe_non_text
from storage.text.table_cells import to_json, to_record

Record = dict[str, Any]

NDJSON_SUFFIXES = {".ndjson", ".jsonl"}
WORKBOOK_SUFFIXES = {".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"}
SUFFIXES = {".csv", ".json", ".parquet", *NDJSON_SUFFIXES, *WORKBOOK_SUFFIXES}


def read_records(file: Path, date_order: DateOrder | None = None, sheet: str | None = None) -> list[Record]:
    """Return the records of a file.

    Raises
    ------
    DataFileInvalid
        The file, or one of its lines, cannot be read; the message names it.
    """
    records = []
    for number, record in read_numbered_records(file, date_order, sheet):
        if isinstance(record, UnreadableLine):
            raise DataFileInvalid(f"{file}, line {number} {record}")
        if not isinstance(record, dict):
            raise DataFileInvalid(f"{file}, line {number} is not a JSON object")
        records.append(record)
    return records


def read_numbered_records(
    file: Path, date_order: DateOrder | None = None, sheet: str | None = None
) -> Iterator[NumberedRecord]:
    """Yield every record with its line; a line without a record becomes an `UnreadableLine`.

    Parameters
    ----------
    date_order : str, optional
        Which of day and month comes first in dates such as 03/04/2024.
    sheet : str, optional
        Of a workbook, by its name.

    Raises
    ------
    DataFileInvalid
        The file is not what its suffix says, or it has no records.
    """
    suffix = file.suffix.lower()
    empty, notes = True, list[str]()
    if sheet is not None and suffix not in WORKBOOK_SUFFIXES:
        raise DataFileInvalid(f"{file} is no workbook: leave --sheet out")
    try:
        if suffix in WORKBOOK_SUFFIXES:
            records = _read_workbook(file, date_order, sheet, notes)
        elif suffix == ".parquet":
            records = read_local_times(_read_parquet(file), date_order)
        else:
            records = _read_text(file, suffix, date_order, notes)
        for record in join_split_times(records, notes):
            empty = False
            yield record
    except UnicodeDecodeError as error:
        raise DataFileInvalid(f"{file} {describe_file_problem(file)}") from error
    except (MalformedBody, InvalidContent) as error:
        raise DataFileInvalid(f"{file}: {error.message}") from error
    except OSError as error:
        raise StorageFailed(f"{file} cannot be read: {error.strerror}") from error
    if empty:
        raise DataFileInvalid(f"{file} is empty: there are no records in it")
    for note in notes:
        echo_warning(f"{file}: {note}")


def read_json_object(file: Path) -> dict[str, Any]:
    """Return the object of a JSON file; DataFileInvalid where there is none."""
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataFileInvalid(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise DataFileInvalid(f"{file}: a JSON object is expected")
    return document


def _read_text(
    file: Path, suffix: str, date_order: DateOrder | None, notes: list[str]
) -> Iterator[NumberedRecord]:
    if problem := describe_non_text(file):
        raise DataFileInvalid(f"{file} {problem}")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        if suffix not in NDJSON_SUFFIXES | {".json"}:
            rows = CsvRecords(lines, date_order)
            yield from rows
            notes += rows.notes
        elif suffix == ".json" and (text := lines.read()).lstrip().startswith("["):
            yield from number_records(_parse_json(text, file))
        else:
            lines.seek(0)
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _parse_line(line)


def _parse_json(text: str, file: Path) -> list[object]:
    try:
        records: list[object] = decode_json(text)
    except MalformedBody as error:
        raise DataFileInvalid(error.message.replace("The body", str(file), 1)) from error
    return records


def _parse_line(line: str) -> object:
    try:
        return decode_json(line)
    except MalformedBody as error:
        return UnreadableLine(error.message.replace("The body", "the line", 1))


def _read_workbook(
    file: Path, date_order: DateOrder | None, sheet: str | None, notes: list[str]
) -> Iterator[NumberedRecord]:
    rows = read_sheet(file, sheet)
    texts = [[str(to_json(cell)) for cell in row] for row in rows[:SAMPLE_LINES]]
    layout = find_table(list(enumerate(texts, 1)))
    table = TableRecords(layout, texts[layout.skip_lines :], date_order)
    for number, record in table.read(enumerate(rows, 1)):
        yield number, to_record(record.items()) if isinstance(record, dict) else record
    notes += table.notes


def _read_parquet(file: Path) -> Iterator[NumberedRecord]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        number, table = 0, ParquetFile(file)
        check_schema(table.schema_arrow)
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, to_record(row.items())
    except pyarrow.ArrowException as error:
        raise DataFileInvalid(f"{file} cannot be read as Parquet: {error}") from error
