"""A CSV text as recordings: a column a channel, a time column for the rate, columns that label rows."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from storage.datasets.recordings.spectrogram_csv import MAX_BANDS, WAVEFORMS, detect_content
from storage.datasets.recordings.waveform import MAX_CHANNELS, Waveform

if TYPE_CHECKING:
    import pyarrow as pa

_TIME: Final = re.compile(r"(?i)\s*(t|time|timestamp|date|datetime|seconds?|sec|zeit|temps)\b.*")
_INDEX: Final = {"", "index", "sample", "samples", "n", "no", "unnamed: 0"}
_UNITS: Final = ((r"(?i)\bns\b|nano", 1e-9), (r"(?i)\bus\b|µs|micro", 1e-6), (r"(?i)\bms\b|milli", 1e-3))
_UNSTEADY: Final = 0.01
_ROWS_THAT_COUNT: Final = 16
"""Even steps in the first column of a file without a header: from so many rows on it is no signal."""
RECORDING: Final = "recording"
_BLOCK: Final = 8 << 20


@dataclass(frozen=True)
class UploadHints:
    """What the sender of recordings says about them.

    Parameters
    ----------
    sampling_rate_hz : float, optional
        For files that do not tell it themselves.
    label_column, specimen_column : str
        Columns of a CSV file that label its rows, where it has them.
    content : str, optional
        ``"spectrograms"`` where CSV files are such and their columns are not named by frequencies.
    most_columns : int
        How many columns are read as channels of a waveform.
    """

    sampling_rate_hz: float | None = None
    label_column: str = "label"
    specimen_column: str = "specimen"
    content: str | None = None
    most_columns: int = MAX_CHANNELS


@dataclass(frozen=True)
class RecordingSegment:
    """Neighbouring rows of one file that have one label, specimen and recording name."""

    waveform: Waveform
    recording: str | None = None
    label: str | None = None
    specimen: str | None = None


def read_recording_csv(content: bytes, hints: UploadHints) -> list[RecordingSegment]:
    """The recordings of a CSV text: one, or one for each run of equal label, specimen and recording.

    Raises
    ------
    InvalidContent
        It is no table of numbers; the message says where.
    """
    names, columns = _columns(content)
    marked = {RECORDING, hints.label_column, hints.specimen_column} & set(names)
    numbers = {name: _numbers(name, cells) for name, cells in columns.items() if name not in marked}
    rate, steady, aside = _rate(numbers, columns)
    channels = tuple(name for name in numbers if name not in aside and numbers[name] is not None)
    if texts := [name for name in numbers if numbers[name] is None and name not in aside]:
        raise InvalidContent(_not_numeric(texts[0], columns[texts[0]]))
    kind = detect_content(channels, hints.content)
    most = hints.most_columns if kind == WAVEFORMS else MAX_BANDS
    if not 1 <= len(channels) <= most:
        raise InvalidContent(f"{len(channels)} numeric columns; {kind} have 1 to {most}")
    with np.errstate(over="ignore"):  # a waveform refuses what is too large
        samples = np.stack([np.asarray(numbers[name], dtype=np.float32) for name in channels], axis=1)
    whole = Waveform(channels, samples, rate, steady, kind)
    return _pieces(whole, {name: _texts(columns[name]) for name in marked}, hints)


def _columns(content: bytes) -> tuple[list[str], dict[str, pa.Array]]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names, delimiter, has_header = _opening(content)
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(content),
            read_options=arrow_csv.ReadOptions(
                use_threads=False, column_names=names, skip_rows=int(has_header), block_size=_BLOCK
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter),
            convert_options=arrow_csv.ConvertOptions(
                null_values=["", "NaN", "nan", "NA", "null"], decimal_point="," if delimiter == ";" else "."
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise InvalidContent(_no_table(str(error))) from error
    if not table.num_rows:
        raise InvalidContent("no rows")
    return names, {name: table.column(name).combine_chunks() for name in names}


def _no_table(said: str) -> str:
    """What the reader said, where it speaks of its blocks in words about the file."""
    if "straddling" in said:
        return f"no table: a line is longer than {_BLOCK >> 20} MB"
    if "skip initial" in said:
        return "no rows"
    return f"no table: {said[:200]}"


def _opening(content: bytes) -> tuple[list[str], str, bool]:
    """Names of the columns, the delimiter, and whether the first line is a header."""
    line = content[: 1 << 16].split(b"\n", 1)[0]
    if b"\0" in line:
        raise InvalidContent("neither CSV nor WAV: it holds NUL characters")
    try:
        text = line.decode("utf-8-sig").strip("\r")
        content[:4096].decode("utf-8-sig", errors="strict" if len(content) < 4096 else "ignore")
    except UnicodeDecodeError as error:
        raise InvalidContent(f"not UTF-8: byte {error.start + 1} cannot be read") from error
    delimiter = max((",", ";", "\t"), key=text.count)
    cells = [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter), [])]
    if not cells:
        raise InvalidContent("empty")
    if all(_is_number(cell) for cell in cells):
        return [f"channel_{number}" for number in range(1, len(cells) + 1)], delimiter, False
    if len(set(cells)) != len(cells):
        raise InvalidContent("a column name stands twice in its header")
    return cells, delimiter, True


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _numbers(name: str, cells: pa.Array) -> NDArray[np.float64] | None:
    """The column as numbers, NaN where empty; None for a column of text, seconds for one of timestamps."""
    import pyarrow as pa

    if pa.types.is_timestamp(cells.type):
        moments = cells.cast(pa.timestamp("ns")).cast(pa.int64()).fill_null(0)
        return np.asarray(moments.to_numpy(zero_copy_only=False)) / 1e9
    if pa.types.is_null(cells.type):
        return np.full(len(cells), np.nan)
    if not (pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type)):
        return None
    numbers: NDArray[np.float64] = cells.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _rate(
    numbers: dict[str, NDArray[np.float64] | None], columns: dict[str, pa.Array]
) -> tuple[float | None, bool, set[str]]:
    """Sampling rate and its steadiness from the time column, and the columns that are no channels."""
    first = next(iter(numbers), "")
    cells = numbers.get(first)
    if cells is None or len(cells) < 2:
        return None, True, set()
    steps = np.diff(cells)
    bare = first == "channel_1" and len(numbers) > 1 and len(steps) >= _ROWS_THAT_COUNT and _is_even(steps)
    if (first.lower() in _INDEX or bare) and (steps == 1).all():
        return None, True, {first}
    if not (_TIME.fullmatch(first) or bare) or len(numbers) < 2 or not (np.median(steps) > 0):
        return None, True, set()
    step = float(np.median(steps)) * next((unit for words, unit in _UNITS if re.search(words, first)), 1.0)
    return 1 / step, _is_even(steps), {first}


def _is_even(steps: NDArray[np.float64]) -> bool:
    usual = np.median(steps)
    return bool(usual > 0 and (np.abs(steps - usual) <= _UNSTEADY * usual).all())


def _not_numeric(name: str, cells: pa.Array) -> str:
    texts = _texts(cells)
    row = next((row for row, text in enumerate(texts, 1) if text and not _is_number(text)), 1)
    return f"row {row} of column {name!r} is no number ({texts[row - 1]!r:.40})"


def _texts(cells: pa.Array) -> list[str]:
    return ["" if value is None else str(value).strip() for value in cells.to_pylist()]


def _pieces(whole: Waveform, marks: dict[str, list[str]], hints: UploadHints) -> list[RecordingSegment]:
    """Cut where a mark changes."""
    if not marks:
        return [RecordingSegment(whole)]
    rows = list(zip(*marks.values(), strict=True))
    starts = [0, *(row for row in range(1, len(rows)) if rows[row] != rows[row - 1])]
    pieces = []
    for first, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        known: dict[str, Any] = dict(zip(marks, rows[first], strict=True))
        pieces.append(
            RecordingSegment(
                replace(whole, samples=whole.samples[first:end]),
                known.get(RECORDING) or None,
                known.get(hints.label_column) or None,
                known.get(hints.specimen_column) or None,
            )
        )
    return pieces
