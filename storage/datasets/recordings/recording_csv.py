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
from storage.datasets.tables.column_names import is_number

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
_MAX_JITTER: Final = 0.01
"""Share by which steps of an even time column may differ."""
_MIN_INDEX_ROWS: Final = 16
"""An evenly rising first column without a name is an index, not a signal, from so many rows on."""


@dataclass(frozen=True)
class RecordingSegment:
    """Neighbouring rows of one file that have one label, specimen and recording name."""

    waveform: Waveform
    recording: str | None = None
    label: str | None = None
    specimen: str | None = None


def read_recording_csv(content: bytes, hints: UploadHints) -> list[RecordingSegment]:
    """Read the recordings of a CSV file: one, or one for each run of equal label, specimen and recording.

    Raises
    ------
    InvalidContent
        It is no table of numbers; the message says where.
    """
    if hints.encoding != "utf-8":
        content = content.decode(hints.encoding, errors="replace").encode()
    layout = csv_files.read_layout(io.BytesIO(content))
    names, skip_lines = layout.first_row, layout.skip_lines
    if all(is_number(cell, decimal_comma=True) for cell in names):
        names, skip_lines = [f"channel_{number}" for number in range(1, len(names) + 1)], layout.lines - 1
    elif layout.empty_columns:
        names = [name or f"\0{number}" for number, name in enumerate(names)]
    if len(set(names)) != len(names):
        raise InvalidContent("a column name stands twice in its header")
    marks = {RECORDING_COLUMN, hints.label_column, hints.specimen_column} & set(names)
    columns = csv_files.read_columns(content, layout, names, skip_lines, marks)
    first = next(iter(columns))
    rate, is_steady, is_channel = _find_rate(first, columns[first], len(columns) - len(marks))
    left_out = {f"\0{number}" for number in layout.empty_columns} | marks | (set() if is_channel else {first})
    channels: dict[str, Numbers] = {}
    for name, cells in columns.items():
        if name in left_out:
            continue
        numbers = _to_numbers(cells)
        if numbers is None:
            texts = _to_texts(cells)
            is_bad = (bool(text) and not is_number(text, decimal_comma=True) for text in texts)
            row = next((row for row, bad in enumerate(is_bad) if bad), 0)
            raise InvalidContent(f"row {row + 1} of column {name!r} is no number ({texts[row]!r:.40})")
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
    return _cut_segments(waveform, {name: _to_texts(columns[name]) for name in marks}, hints)


def _to_numbers(cells: pa.Array) -> Numbers | None:
    """Return a column as numbers, NaN where empty; None for text and times."""
    import pyarrow as pa

    if pa.types.is_null(cells.type):
        return np.full(len(cells), np.nan)
    if not (pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type)):
        return None
    numbers: Numbers = cells.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(numbers), numbers, np.nan)


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
    steps = np.diff(values).astype(np.float64)
    is_unnamed_index = (
        name == "channel_1" and columns > 1 and len(steps) >= _MIN_INDEX_ROWS and _is_even(steps)
    )
    if (name.lower() in _INDEX or is_unnamed_index) and (steps == 1).all():
        return None, True, False
    if not (_TIME.fullmatch(name) or is_unnamed_index) or columns < 2 or not (np.median(steps) > 0):
        return None, True, True
    unit = 1e-9 if is_time_type else next((unit for pattern, unit in _UNITS if pattern.search(name)), None)
    if unit is None:
        epoch_unit = times.epoch_unit(name, values.astype(np.float64))
        unit = 1.0 if epoch_unit is None else epoch_unit / 1e9
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
