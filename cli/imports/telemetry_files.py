"""Read telemetry and failures in the formats of other systems: tables, C-MAPSS texts, Lookout for Equipment.

Each reader yields one `TelemetryBatch` per device (tables: one per few thousand lines), so that no more than
that is in memory.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Final

from cli.imports.record_files import SUFFIXES, read_numbered_records
from cli.imports.tables import Table
from cli.imports.temporary_blocks import TemporaryBlocks
from errors import ConfigurationError, DataFileInvalid, InvalidRecords, NotFound
from prediction.records import UnreadableLine
from prediction.records.columns import ColumnNames
from prediction.records.fields import (
    MAX_ABS_VALUE,
    FieldError,
    RecordFault,
    is_empty,
    parse_number,
    to_microseconds,
)
from prediction.telemetry import records
from prediction.telemetry.long_tables import LONG_SCHEMA, describe_conflicts, parse_values_of_channels
from storage.devices.failures import FailureEvent
from storage.devices.joined_values import JoinedValues
from storage.devices.telemetry import TelemetryRows
from storage.text.encoding import describe_file_problem
from storage.times import parse_time

# C-MAPSS has no dates: the first cycle of every engine is put here, and a cycle is an hour.
CMAPSS_START: Final = datetime(2008, 1, 1, tzinfo=UTC)
MAX_FAULTS: Final = 100
NO_NAMES: Final = ColumnNames()
NO_ROWS: Final = TelemetryRows((), (), ())
_NUM_SETTINGS: Final = 3
_BATCH_SIZE: Final = 20_000
# Besides ISO 8601: the formats that Lookout for Equipment accepts.
_TIME_FORMATS: Final = ("%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S",
                        "%Y-%m-%d-%H-%M-%S", "%Y%m%d%H%M%S")  # fmt: skip


@dataclass(frozen=True)
class TelemetryBatch:
    """Some telemetry and the failures that belong to it."""

    rows: TelemetryRows
    events: Sequence[FailureEvent] = field(default=())
    warnings: Sequence[str] = field(default=())


def read_tables(
    tables: Sequence[Table], failures: Table | None, tenant: str, columns: ColumnNames = NO_NAMES
) -> Iterator[TelemetryBatch]:
    """Yield tables with ``device_id``, ``timestamp`` and channels, then the failures of their own table.

    Nothing is yielded before all tables are checked: what was stored before a wrong line would be there twice after
    the next attempt.

    Raises
    ------
    ConfigurationError
        The column of the values has a name, and that of the channels has none.
    """
    if columns.value and not columns.channel:
        raise ConfigurationError(
            "Name the column of the channels, too (--channel-column): without it each column is a channel"
        )
    events = [] if failures is None else read_failures(failures, tenant)
    if columns.channel:
        yield from _read_long_tables(tables, tenant, replace(columns, value=columns.value or "value"))
    else:
        yield from _read_wide_tables(tables, tenant, columns)
    yield TelemetryBatch(NO_ROWS, events)


def _read_wide_tables(tables: Sequence[Table], tenant: str, columns: ColumnNames) -> Iterator[TelemetryBatch]:
    # Checked rows wait in a file: a second pass over a table would cost a second run of its query.
    with TemporaryBlocks() as checked:
        for table in tables:
            lines, faults = columns.rename(table.read(), tag="device_id"), list[RecordFault]()
            while batch := list(islice(lines, _BATCH_SIZE)):
                rows, batch_faults = records.parse_telemetry(batch, tenant)
                faults += batch_faults
                checked.append(json.dumps([rows.devices, rows.times, rows.channels]).encode())
            _raise_faults(table, faults)
        for block in checked:
            yield TelemetryBatch(TelemetryRows(*json.loads(block)))


def _read_long_tables(tables: Sequence[Table], tenant: str, columns: ColumnNames) -> Iterator[TelemetryBatch]:
    """Yield the rows of tables with a line for each value; those of one device and time may be in several tables."""
    unread = dict[str, None]()
    with JoinedValues() as joined:
        for table in tables:
            lines, faults = columns.rename(table.read(), tag="device_id", value="value"), list[RecordFault]()
            while batch := list(islice(lines, _BATCH_SIZE)):
                values, batch_faults = parse_values_of_channels(batch, tenant)
                faults += batch_faults
                unread |= dict.fromkeys(LONG_SCHEMA.ignored(batch))
                joined.add(values)
            _raise_faults(table, faults)
        if conflicts := describe_conflicts(joined.find_conflicts()):
            raise InvalidRecords(conflicts[:MAX_FAULTS], wrong=len(conflicts))
        for rows in joined.rows():
            yield TelemetryBatch(rows)
    if unread:
        yield TelemetryBatch(NO_ROWS, warnings=[f"Columns that were not read: {', '.join(unread)}"])


def read_failures(table: Table, tenant: str, columns: ColumnNames = NO_NAMES) -> list[FailureEvent]:
    """Return the failure events of a table."""
    lines = list(columns.rename(table.read(), time="event_time", tag="device_id"))
    events, faults = records.parse_failures(lines, tenant)
    _raise_faults(table, faults)
    return events


def list_tables(path: Path) -> list[Path]:
    """Return a file, or the tables of a folder."""
    return _list_files(path, [f"*{suffix}" for suffix in sorted(SUFFIXES)])


def _raise_faults(table: Table, faults: list[RecordFault]) -> None:
    if faults:
        raise InvalidRecords(faults[:MAX_FAULTS], file=table.name, wrong=len(faults))


def read_cmapss(path: Path, censored: bool) -> Iterator[TelemetryBatch]:
    """Yield the engines of NASA C-MAPSS texts: a line has unit, cycle, three settings and 21 sensors.

    Parameters
    ----------
    censored : bool
        The engines have not failed after their last cycle, as in the test files.
    """
    for file in _list_files(path, ("train_*.txt", "train_*.txt.gz")):
        kind, _, prefix = file.name.partition(".")[0].rpartition("_")
        if kind == "test":  # its engines have the same numbers as other ones of the training file
            prefix += "-test"
        for unit, rows in groupby(_read_numbers(file), key=lambda row: int(row[0])):
            yield _make_engine(f"{prefix}-{unit:03d}", list(rows), censored or kind == "test")


def _make_engine(device: str, rows: Sequence[Sequence[float]], censored: bool) -> TelemetryBatch:
    rows = sorted(rows, key=itemgetter(1))
    times = [CMAPSS_START + timedelta(hours=row[1] - 1) for row in rows]
    settings = [f"setting_{number}" for number in range(1, _NUM_SETTINGS + 1)]
    sensors = [f"sensor_{number}" for number in range(1, max(map(len, rows)) - _NUM_SETTINGS - 1)]
    channels = [dict(zip(settings + sensors, row[2:], strict=False)) for row in rows]
    telemetry = TelemetryRows([device] * len(rows), [to_microseconds(time) for time in times], channels)
    failure: FailureEvent = {
        "device_id": device,
        "event_time": times[-1],
        "event_type": "failure",
        "operating_hours_at_failure": rows[-1][1],
    }
    return TelemetryBatch(telemetry, () if censored else (failure,))


def _read_numbers(file: Path) -> Iterator[list[float]]:
    open_text, count = gzip.open if file.suffix == ".gz" else open, 0
    with _decoding_errors(file), open_text(file, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if row := _parse_cycle(line, f"{file}, line {number}"):
                count += 1
                yield row
    if not count:
        raise DataFileInvalid(f"{file} is empty: there are no records in it")


def _parse_cycle(line: str, where: str) -> list[float]:
    try:
        row = [float(cell) for cell in line.split()]
    except ValueError as error:
        raise DataFileInvalid(f"{where}: {error}") from error
    if row and len(row) <= _NUM_SETTINGS + 2:
        raise DataFileInvalid(f"{where}: a unit, a cycle, settings and sensors were expected")
    if not all(abs(value) <= MAX_ABS_VALUE for value in row):
        raise DataFileInvalid(f"{where}: a value is not a finite number")
    if not all(0 <= value <= records.MAX_OPERATING_HOURS for value in row[:2]):
        raise DataFileInvalid(f"{where}: the unit or the cycle is out of range")
    return row


def read_lookout(path: Path, labels: Path | None) -> Iterator[TelemetryBatch]:
    """Yield the folders that Lookout for Equipment ingested: one per piece of equipment, with CSV files.

    The first column of a file is the time and every other one a sensor; files of one folder are joined by
    time. A label is a line ``start,end`` without a header: the failure is put at its end, where it was seen.
    """
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir()) if path.is_dir() else []
    devices = [folder for folder in folders if any(folder.rglob("*.csv"))] or [path]
    for folder in devices:
        rows: dict[int, dict[str, float]] = {}
        for file in _list_files(folder, ("**/*.csv",)):
            _join_file(file, rows)
        times = sorted(rows)
        device = folder.resolve().name
        telemetry = TelemetryRows([device] * len(times), times, [rows[time] for time in times])
        yield TelemetryBatch(telemetry, _read_labels(device, labels, single=len(devices) == 1))


def _join_file(file: Path, rows: dict[int, dict[str, float]]) -> None:
    """Add a file's values to the rows; a name that is taken gets the file's name in front of it."""
    taken = {name for row in rows.values() for name in row}
    for number, record in read_numbered_records(file):
        where = f"{file}, line {number}"
        if isinstance(record, UnreadableLine):
            raise DataFileInvalid(f"{where} {record}")
        time, *cells = record.items()
        values = {
            f"{file.stem}.{name}" if name in taken else name: _parse_value(cell, where)
            for name, cell in cells
            if not is_empty(cell)
        }
        if values:
            rows.setdefault(to_microseconds(_parse_time(time[1], where)), {}).update(values)


def _read_labels(device: str, labels: Path | None, single: bool) -> list[FailureEvent]:
    if labels is None:
        return []
    file = labels / f"{device}.csv" if labels.is_dir() else labels
    if not labels.is_dir() and not single:
        raise DataFileInvalid(
            f"{labels}: with several devices, labels are a folder of files named <device>.csv"
        )
    if not file.exists():
        return []
    return [
        {"device_id": device, "event_time": end, "event_type": "failure"} for _, end in read_label_file(file)
    ]


def read_label_file(file: Path) -> list[tuple[datetime, datetime]]:
    """Return the periods of a label file of Lookout for Equipment: lines ``start,end`` without a header."""
    with _decoding_errors(file), file.open(encoding="utf-8-sig", newline="") as opened:
        reader = csv.reader(opened)
        lines = [(reader.line_num, line) for line in reader if line]
    periods = []
    for number, line in lines:
        if len(line) < 2:
            raise DataFileInvalid(f"{file}, line {number}: a label is a start and an end")
        start, end = (_parse_time(cell, f"{file}, line {number}") for cell in line[:2])
        if start > end:
            raise DataFileInvalid(f"{file}, line {number}: the label starts after its end")
        periods.append((start, end))
    return periods


@contextmanager
def _decoding_errors(file: Path) -> Iterator[None]:
    """Turn errors of a file that is not text, CSV or gzip into one that names the file."""
    try:
        yield
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError, zlib.error) as error:
        is_text = isinstance(error, UnicodeDecodeError) and file.suffix != ".gz"
        reason = describe_file_problem(file) if is_text else f"cannot be read: {error}"
        raise DataFileInvalid(f"{file} {reason}. UTF-8 text is expected, or its .gz") from error


def _parse_time(text: str, where: str) -> datetime:
    """Return a time, in UTC where it has no offset; a number is seconds or milliseconds since 1970."""
    text = text.strip()
    if text.isdigit() and len(text) in (10, 13):
        return datetime.fromtimestamp(int(text) / (1 if len(text) == 10 else 1000), UTC)
    for time_format in (None, *_TIME_FORMATS):
        try:
            time = datetime.strptime(text, time_format) if time_format else parse_time(text)
        except ValueError:
            continue
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    raise DataFileInvalid(f"{where}: {text[:50]!r} is not a time")


def _parse_value(cell: str, where: str) -> float:
    try:
        return parse_number("a value", cell)
    except FieldError as error:
        raise DataFileInvalid(f"{where}, {cell[:50]!r}: {error}") from error


def _list_files(path: Path, patterns: Sequence[str]) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted({file for pattern in patterns for file in path.glob(pattern)})
    if not files:
        raise NotFound(f"There is no such file or folder with data: {path}")
    return files
