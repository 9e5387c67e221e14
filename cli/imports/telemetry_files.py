"""Telemetry and failures as other systems leave them: tables, C-MAPSS texts, Lookout for Equipment folders.

Each reader yields one `Delivery` a device (tables: one a few thousand lines), so that no fleet is held.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Final

from cli.imports.record_files import read_numbered_records
from errors import DataFileInvalid, InvalidRecords, NotFound
from prediction.records.fields import MAX_ABS_VALUE, FieldError, RecordFault, parse_number, to_microseconds
from prediction.rul import records
from storage.devices.failures import FailureEvent
from storage.devices.telemetry import TelemetryRows
from storage.text.encoding import describe_file_problem

CMAPSS_START: Final = datetime(2008, 1, 1, tzinfo=UTC)
"""C-MAPSS names no dates: every engine's first cycle is put here, and a cycle is an hour."""
_SETTINGS: Final = 3
_LINES_AT_ONCE: Final = 20_000
_LABEL_FIELDS: Final = 2
_TIMES: Final = ("%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S",
                 "%Y-%m-%d-%H-%M-%S", "%Y%m%d%H%M%S")  # fmt: skip
"""Besides ISO 8601: the forms that Lookout for Equipment read."""


@dataclass(frozen=True)
class TelemetryBatch:
    """Some telemetry and the failures that belong to it."""

    samples: TelemetryRows
    events: Sequence[FailureEvent] = field(default=())


def csv_files(path: Path, failures: Path | None, tenant: str) -> Iterator[TelemetryBatch]:
    """CSV or NDJSON tables with ``device_id``, ``timestamp`` and channels; failures in their own table."""
    events: list[FailureEvent] = []
    if failures is not None:  # a fault in them is told before any row is written
        events, faults = records.parse_failures(list(read_numbered_records(failures)), tenant)
        _refuse(failures, faults)
    for file in _files(path, ("*.csv", "*.ndjson", "*.jsonl")):
        if file != failures:
            yield from _table(file, tenant)
    yield TelemetryBatch(TelemetryRows((), (), ()), events)


def _table(file: Path, tenant: str) -> Iterator[TelemetryBatch]:
    lines = read_numbered_records(file)
    while sent := list(islice(lines, _LINES_AT_ONCE)):
        samples, faults = records.parse_telemetry(sent, tenant)
        _refuse(file, faults)
        yield TelemetryBatch(samples)


def cmapss_files(path: Path, running: bool) -> Iterator[TelemetryBatch]:
    """NASA C-MAPSS text: unit, cycle, three settings and 21 sensors a line, white space between them.

    Parameters
    ----------
    running : bool
        The engines have not failed after their last cycle, as in the test files.
    """
    for file in _files(path, ("train_*.txt", "train_*.txt.gz")):
        kind, _, prefix = file.name.partition(".")[0].rpartition("_")
        if kind == "test":  # other engines than those of the training file, whose numbers they have
            prefix += "-test"
        alive = running or kind == "test"
        for unit, rows in groupby(_numbers(file), key=lambda row: int(row[0])):
            yield _engine(f"{prefix}-{unit:03d}", list(rows), alive)


def _engine(device: str, rows: Sequence[Sequence[float]], alive: bool) -> TelemetryBatch:
    rows = sorted(rows, key=itemgetter(1))
    times = [CMAPSS_START + timedelta(hours=row[1] - 1) for row in rows]
    channels = [dict(zip(_names(len(row)), row[2:], strict=True)) for row in rows]
    samples = TelemetryRows([device] * len(rows), [to_microseconds(time) for time in times], channels)
    failure: FailureEvent = {
        "device_id": device,
        "event_time": times[-1],
        "event_type": "failure",
        "operating_hours_at_failure": rows[-1][1],
    }
    return TelemetryBatch(samples, () if alive else (failure,))


def _names(columns: int) -> list[str]:
    settings = [f"setting_{number}" for number in range(1, _SETTINGS + 1)]
    return settings + [f"sensor_{number}" for number in range(1, columns - _SETTINGS - 1)]


def _numbers(file: Path) -> Iterator[list[float]]:
    opener, count = gzip.open if file.suffix == ".gz" else open, 0
    with _readable(file), opener(file, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = [float(cell) for cell in line.split()]
            except ValueError as error:
                raise DataFileInvalid(f"{file}, line {number}: {error}") from error
            if row and len(row) <= _SETTINGS + 2:
                raise DataFileInvalid(
                    f"{file}, line {number}: a unit, a cycle, settings and sensors were expected"
                )
            if not all(abs(value) <= MAX_ABS_VALUE for value in row):
                raise DataFileInvalid(
                    f"{file}, line {number}: a value is no number that can be computed with"
                )
            if row and not all(0 <= value <= records.MAX_OPERATING_HOURS for value in row[:2]):
                raise DataFileInvalid(f"{file}, line {number}: that is no unit or no cycle")
            if row:
                count += 1
                yield row
    if not count:
        raise DataFileInvalid(f"{file} is empty: there are no records in it")


def lookout_folders(path: Path, labels: Path | None) -> Iterator[TelemetryBatch]:
    """Folders as Lookout for Equipment ingested them: one a piece of equipment, CSV files below it.

    The first column of a file is the time and every other one a sensor; files of one folder are joined by
    time. A label is a line ``start,end`` without a header: the failure is put at its end, where it was seen.
    """
    folders = sorted(found for found in path.iterdir() if found.is_dir()) if path.is_dir() else []
    devices = [found for found in folders if any(found.rglob("*.csv"))] or [path]
    for folder in devices:
        rows: dict[int, dict[str, float]] = {}
        for file in _files(folder, ("**/*.csv",)):
            _join(file, rows)
        times = sorted(rows)
        device = folder.resolve().name
        samples = TelemetryRows([device] * len(times), times, [rows[time] for time in times])
        yield TelemetryBatch(samples, _labels(device, labels, alone=len(devices) == 1))


def _join(file: Path, rows: dict[int, dict[str, float]]) -> None:
    """Put a file's values beside those that are there; a name that is taken gets the file's before it."""
    with _readable(file), file.open(encoding="utf-8-sig", newline="") as opened:
        header, *lines = list(csv.reader(opened)) or [[]]
        taken = {name for row in rows.values() for name in row}
        names = [f"{file.stem}.{name}" if name.strip() in taken else name.strip() for name in header[1:]]
        for number, line in enumerate(lines, 2):
            time = to_microseconds(_time(line[0], file, number)) if line else None
            cells = zip(names, line[1:], strict=False)
            found = {name: _value(cell, file, number) for name, cell in cells if _is_there(cell)}
            if time is not None and found:
                rows.setdefault(time, {}).update(found)


def _labels(device: str, labels: Path | None, alone: bool) -> list[FailureEvent]:
    if labels is None:
        return []
    file = labels / f"{device}.csv" if labels.is_dir() else labels
    if not labels.is_dir() and not alone:
        raise DataFileInvalid(
            f"{labels}: with several devices, labels are a folder of files named <device>.csv"
        )
    if not file.exists():
        return []
    with _readable(file), file.open(encoding="utf-8-sig", newline="") as opened:
        lines = [line for line in csv.reader(opened) if line]
    if any(len(line) < _LABEL_FIELDS for line in lines):
        raise DataFileInvalid(f"{file}: each label is a start and an end")
    ends = [_time(line[1], file, number) for number, line in enumerate(lines, 1)]
    return [{"device_id": device, "event_time": end, "event_type": "failure"} for end in ends]


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """What is no text, or no gzip, as an error that names the file."""
    try:
        yield
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError, zlib.error) as error:
        undecoded = isinstance(error, UnicodeDecodeError) and file.suffix != ".gz"
        said = describe_file_problem(file) if undecoded else f"cannot be read: {error}"
        raise DataFileInvalid(f"{file} {said}. UTF-8 text is expected, or its .gz") from error


def _time(said: str, file: Path, line: int) -> datetime:
    """A time as Lookout for Equipment read it, UTC where it names no offset; a number counts from 1970."""
    said = said.strip()
    if said.isdigit() and len(said) in (10, 13):
        return datetime.fromtimestamp(int(said) / (1 if len(said) == 10 else 1000), UTC)
    for pattern in (None, *_TIMES):
        try:
            read = datetime.fromisoformat(said) if pattern is None else datetime.strptime(said, pattern)
        except ValueError:
            continue
        return read if read.tzinfo else read.replace(tzinfo=UTC)
    raise DataFileInvalid(f"{file}, line {line}: {said[:50]!r} is no time")


def _is_there(cell: str) -> bool:
    """Whether a cell has a value; programs write ``nan`` where there was none."""
    return cell.strip().lower() not in {"", "nan"}


def _value(cell: str, file: Path, line: int) -> float:
    try:
        return parse_number("a value", cell)
    except FieldError as error:
        raise DataFileInvalid(f"{file}, line {line}, {cell[:50]!r}: {error}") from error


def _files(path: Path, patterns: Sequence[str]) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted({file for pattern in patterns for file in path.glob(pattern)})
    if not found:
        raise NotFound(f"There is no such file or folder with data: {path}")
    return found


def _refuse(file: Path, faults: list[RecordFault]) -> None:
    if faults:
        raise InvalidRecords(faults[:100], file=str(file), wrong=len(faults))
