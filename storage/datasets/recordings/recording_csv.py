"""Read a CSV file as recordings: a column a channel, a time column for the rate, columns that label rows."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from storage import times
from storage.datasets import csv_files
from storage.datasets.facts import WAVEFORMS
from storage.datasets.hints import MAX_RECORDINGS, UploadHints
from storage.datasets.recordings.spectrogram_csv import MAX_BANDS, detect_input_kind
from storage.datasets.recordings.waveform import Waveform
from storage.datasets.tables.column_names import check_column_names
from storage.text.csv_layout import count_of
from storage.text.numbers import (
    AmbiguousNumber,
    DecimalSign,
    describe_ambiguity,
    is_missing,
    is_number_text,
    parse_number_text,
)

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = NDArray[np.float64]

RECORDING_COLUMN: Final = "recording"
_TIME: Final = re.compile(r"(?i)\s*(t|time|timestamp|date|datetime|seconds?|sec|zeit|temps)(?![a-z]).*")
_INDEX: Final = {"", "index", "sample", "samples", "n", "no", "unnamed: 0"}
_UNITS: Final = tuple(
    (re.compile(rf"(?i)(?<![a-zµ])({words})(?![a-z])|{name}"), unit)
    for words, name, unit in (("ns", "nano", 1e-9), ("us|µs", "micro", 1e-6), ("ms", "milli", 1e-3))
)
# Share by which steps of an even time column may differ.
_MAX_JITTER: Final = 0.01
# An evenly rising first column without a name is an index, not a signal, from so many rows on.
_MIN_INDEX_ROWS: Final = 16


@dataclass(frozen=True)
class RecordingFile:
    """What one CSV file holds, and sentences about what was left out of it."""

    segments: list[RecordingSegment]
    notes: list[str]


@dataclass(frozen=True)
class RecordingSegment:
    """Neighbouring rows of one file that have one label, specimen and recording name."""

    waveform: Waveform
    recording: str | None = None
    label: str | None = None
    specimen: str | None = None


def read_recording_csv(content: bytes, hints: UploadHints) -> RecordingFile:
    """Read the recordings of a CSV file: one, or one for each run of equal label, specimen and recording.

    Raises
    ------
    InvalidContent
        It is no table of numbers; the message says where.
    """
    if hints.encoding != "utf-8":
        content = content.decode(hints.encoding, errors="replace").encode()
    content = csv_files.unify_line_ends(content)
    layout = csv_files.read_layout(io.BytesIO(content))
    names, skip_lines = layout.first_row, layout.skip_lines
    if all(map(is_number_text, layout.columns)):
        names, skip_lines = [f"channel_{number}" for number in range(1, len(names) + 1)], layout.lines - 1
    else:
        check_column_names(layout.columns)
        names = csv_files.name_all(layout)
    marks = {RECORDING_COLUMN, hints.label_column, hints.specimen_column} & set(names)
    columns, num_blank = csv_files.read_columns(content, layout, names, skip_lines, marks)
    notes = [sentence for _, sentence, _ in layout.notes()]
    notes += [f"{count_of(num_blank, 'blank row')} left out"] if num_blank else []
    for number in layout.left_out:
        cells = columns.pop(names[number])
        if number in layout.empty_columns and cells.null_count < len(cells):
            raise InvalidContent(csv_files.NAMELESS_CELL)
    first = next((name for name in columns if name not in marks), "")
    if not first:
        raise InvalidContent("it has no column of samples")
    rate, is_steady, is_channel = _find_rate(first, columns[first], len(columns) - len(marks))
    left_out = marks | (set() if is_channel else {first})
    channels: dict[str, Numbers] = {}
    for name, cells in columns.items():
        if name in left_out:
            continue
        numbers = _to_numbers(name, cells, layout.decimal_sign)
        # A column without a single number says nothing; with it, every window would miss a sample.
        if not np.isnan(numbers).all():
            channels[name] = numbers
    kind = detect_input_kind(tuple(channels), hints.input_kind)
    most = hints.max_channels if kind == WAVEFORMS else MAX_BANDS
    if not 1 <= len(channels) <= most:
        raise InvalidContent(f"{len(channels)} numeric columns; {kind} have 1 to {most}")
    with np.errstate(over="ignore"):  # Waveform refuses samples that are too large.
        samples = np.stack([np.asarray(cells, dtype=np.float32) for cells in channels.values()], axis=1)
    waveform = Waveform(tuple(channels), samples, rate, is_steady, kind)
    segments = _cut_segments(waveform, {name: _to_texts(columns[name]) for name in marks}, hints)
    return RecordingFile(segments, notes)


def _to_numbers(name: str, cells: pa.Array, decimal_sign: DecimalSign | None) -> Numbers:
    """Return a column as numbers, NaN where empty; InvalidContent names the first row that holds none."""
    import pyarrow as pa

    if pa.types.is_null(cells.type):
        return np.full(len(cells), np.nan)
    if not (pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type)):
        return np.array(
            [_to_number(name, row, text, decimal_sign) for row, text in enumerate(_to_texts(cells), 1)]
        )
    numbers: Numbers = cells.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _to_number(name: str, row: int, text: str, decimal_sign: DecimalSign | None) -> float:
    if is_missing(text):
        return np.nan
    try:
        return parse_number_text(text, decimal_sign)
    except AmbiguousNumber as error:
        raise InvalidContent(f"row {row} of column {name!r}: {describe_ambiguity(text)}") from error
    except ValueError as error:
        raise InvalidContent(f"row {row} of column {name!r} is no number ({text!r:.40})") from error


def _find_rate(name: str, cells: pa.Array, columns: int) -> tuple[float | None, bool, bool]:
    """Return the sampling rate, whether it is steady, and whether the first column is a channel."""
    import pyarrow as pa

    is_time_type = pa.types.is_timestamp(cells.type)
    is_number = pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type)
    if len(cells) < 2 or not (is_time_type or is_number) or cells.null_count:
        return None, True, not (is_time_type and columns > 1)
    # Differences are taken of whole numbers: nanoseconds since 1970 have more digits than a float.
    if is_time_type:
        cells = cells.cast(pa.timestamp("ns")).cast(pa.int64())
    values = cells.to_numpy(zero_copy_only=False)
    epoch_unit = None if is_time_type else times.epoch_unit(name, values.astype(np.float64))
    if epoch_unit is not None and pa.types.is_floating(cells.type):
        # Times since 1970 with decimals are exact to a microsecond.
        values, epoch_unit = np.round(values * (epoch_unit / 1000)).astype(np.int64), 1000
    steps = np.diff(values).astype(np.float64)
    is_unnamed_index = (
        name == "channel_1" and columns > 1 and len(steps) >= _MIN_INDEX_ROWS and _is_even(steps)
    )
    if epoch_unit is not None and not (np.median(steps) > 0):
        raise InvalidContent(
            f"the times in {name!r} do not rise ({cells[0]}, {cells[1]}, …): a spreadsheet may have shortened them. "
            "Format the column as text and export the table again, or leave it out and send sampling_rate_hz"
        )
    if (name.lower() in _INDEX or is_unnamed_index) and (steps == 1).all():
        return None, True, False
    if not (_TIME.fullmatch(name) or is_unnamed_index) or columns < 2 or not (np.median(steps) > 0):
        return None, True, True
    if epoch_unit is not None:
        unit = epoch_unit / 1e9
    else:
        unit = 1e-9 if is_time_type else next((unit for pattern, unit in _UNITS if pattern.search(name)), 1.0)
    return 1 / (float(np.median(steps)) * unit), _is_even(steps), False


def _is_even(steps: Numbers) -> bool:
    usual = np.median(steps)
    return bool(usual > 0 and (np.abs(steps - usual) <= _MAX_JITTER * usual).all())


def _to_texts(cells: pa.Array) -> list[str]:
    return ["" if value is None else str(value).strip() for value in cells.to_pylist()]


def _cut_segments(
    waveform: Waveform, marks: dict[str, list[str]], hints: UploadHints
) -> list[RecordingSegment]:
    """Cut the rows where a mark changes."""
    if not marks:
        return [RecordingSegment(waveform)]
    rows = list(zip(*marks.values(), strict=True))
    # Neighbouring rows only: a class that returns later was recorded at another time.
    starts = [0, *(row for row in range(1, len(rows)) if rows[row] != rows[row - 1])]
    if len(starts) > MAX_RECORDINGS:
        raise InvalidContent(
            f"its rows change their label {len(starts):,} times; {MAX_RECORDINGS:,} recordings are allowed"
        )
    segments = []
    for first, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        values = dict(zip(marks, rows[first], strict=True))
        segments.append(
            RecordingSegment(
                replace(waveform, samples=waveform.samples[first:end]),
                values.get(RECORDING_COLUMN) or None,
                values.get(hints.label_column) or None,
                values.get(hints.specimen_column) or None,
            )
        )
    return segments
