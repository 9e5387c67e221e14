"""Read a CSV file as recordings: a column a channel, a time column for the rate, columns that label rows."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from storage.datasets import csv_files
from storage.datasets.facts import WAVEFORMS
from storage.datasets.recordings.spectrogram_csv import MAX_BANDS, detect_input_kind
from storage.datasets.recordings.waveform import MAX_CHANNELS, Waveform
from storage.datasets.tables.column_names import is_number

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = NDArray[np.float64]

RECORDING_COLUMN: Final = "recording"
_TIME: Final = re.compile(r"(?i)\s*(t|time|timestamp|date|datetime|seconds?|sec|zeit|temps)\b.*")
_INDEX: Final = {"", "index", "sample", "samples", "n", "no", "unnamed: 0"}
_UNITS: Final = ((r"(?i)\bns\b|nano", 1e-9), (r"(?i)\bus\b|µs|micro", 1e-6), (r"(?i)\bms\b|milli", 1e-3))
_MAX_JITTER: Final = 0.01
"""Share by which steps of an even time column may differ."""
_MIN_INDEX_ROWS: Final = 16
"""An evenly rising first column without a name is an index, not a signal, from so many rows on."""


@dataclass(frozen=True)
class UploadHints:
    """What the sender of recordings says about them.

    Parameters
    ----------
    sampling_rate_hz : float, optional
        For files that do not state it themselves.
    label_column, specimen_column : str
        Columns of a CSV file that label its rows, where it has them.
    input_kind : str, optional
        ``"spectrograms"`` where CSV files are such and their columns are not named by frequencies.
    max_channels : int
        How many columns are read as channels of a waveform.
    """

    sampling_rate_hz: float | None = None
    label_column: str = "label"
    specimen_column: str = "specimen"
    input_kind: str | None = None
    max_channels: int = MAX_CHANNELS


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
    layout = csv_files.read_layout(io.BytesIO(content))
    names, header_lines = layout.first_row, layout.lines
    if all(is_number(cell, decimal_comma=True) for cell in names):
        names, header_lines = [f"channel_{number}" for number in range(1, len(names) + 1)], layout.lines - 1
    if len(set(names)) != len(names):
        raise InvalidContent("a column name stands twice in its header")
    marks = {RECORDING_COLUMN, hints.label_column, hints.specimen_column} & set(names)
    columns = csv_files.read_columns(content, layout, names, header_lines, marks)
    numbers = {name: _to_numbers(cells) for name, cells in columns.items() if name not in marks}
    rate, is_steady, time_column = _find_rate(numbers)
    channels = {name: cells for name, cells in numbers.items() if name != time_column}
    for name, cells in channels.items():
        if cells is None:
            raise InvalidContent(_explain_text(name, _to_texts(columns[name])))
    kind = detect_input_kind(tuple(channels), hints.input_kind)
    most = hints.max_channels if kind == WAVEFORMS else MAX_BANDS
    if not 1 <= len(channels) <= most:
        raise InvalidContent(f"{len(channels)} numeric columns; {kind} have 1 to {most}")
    with np.errstate(over="ignore"):  # Waveform refuses samples that are too large.
        samples = np.stack([np.asarray(cells, dtype=np.float32) for cells in channels.values()], axis=1)
    waveform = Waveform(tuple(channels), samples, rate, is_steady, kind)
    return _cut_segments(waveform, {name: _to_texts(columns[name]) for name in marks}, hints)


def _to_numbers(cells: pa.Array) -> Numbers | None:
    """Return a column as numbers, NaN where empty; timestamps as seconds, None for text."""
    import pyarrow as pa

    if pa.types.is_timestamp(cells.type):
        counts = cells.cast(pa.timestamp("ns")).cast(pa.int64()).fill_null(0)
        return np.asarray(counts.to_numpy(zero_copy_only=False)) / 1e9
    if pa.types.is_null(cells.type):
        return np.full(len(cells), np.nan)
    if not (pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type)):
        return None
    numbers: Numbers = cells.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _find_rate(columns: dict[str, Numbers | None]) -> tuple[float | None, bool, str | None]:
    """Return the sampling rate, whether it is steady, and the column of times or row numbers."""
    first = next(iter(columns), "")
    cells = columns.get(first)
    if cells is None or len(cells) < 2:
        return None, True, None
    steps = np.diff(cells)
    is_unnamed_index = (
        first == "channel_1" and len(columns) > 1 and len(steps) >= _MIN_INDEX_ROWS and _is_even(steps)
    )
    if (first.lower() in _INDEX or is_unnamed_index) and (steps == 1).all():
        return None, True, first
    if not (_TIME.fullmatch(first) or is_unnamed_index) or len(columns) < 2 or not (np.median(steps) > 0):
        return None, True, None
    unit = next((unit for pattern, unit in _UNITS if re.search(pattern, first)), 1.0)
    return 1 / (float(np.median(steps)) * unit), _is_even(steps), first


def _is_even(steps: Numbers) -> bool:
    usual = np.median(steps)
    return bool(usual > 0 and (np.abs(steps - usual) <= _MAX_JITTER * usual).all())


def _explain_text(name: str, texts: list[str]) -> str:
    rows = enumerate(texts, 1)
    row = next((row for row, text in rows if text and not is_number(text, decimal_comma=True)), 1)
    return f"row {row} of column {name!r} is no number ({texts[row - 1]!r:.40})"


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
