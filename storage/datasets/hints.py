"""What the sender of a dataset says about it, besides the file itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from storage.text.encoding import UTF_8

MAX_CHANNELS: Final = 64
# Of a dataset; each costs a millisecond or two to check and store.
MAX_RECORDINGS: Final = 20_000


@dataclass(frozen=True)
class UploadHints:
    """What the sender of a dataset says about it.

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
    date_order : str, optional
        ``"day"`` or ``"month"``: which of the two comes first in dates such as 03/04/2024.
    encoding : str
        Of CSV files, one of `ENCODINGS`.
    time_column : str, optional
        Column of the times; else the first one that reads as times.
    pivot_by : str, optional
        Column of names in a long table (time, name, value): the dataset gets a column for each name.
    sheet : str, optional
        Of a workbook, by its name.
    """

    sampling_rate_hz: float | None = None
    label_column: str = "label"
    specimen_column: str = "specimen"
    input_kind: str | None = None
    max_channels: int = MAX_CHANNELS
    date_order: str | None = None
    encoding: str = UTF_8
    time_column: str | None = None
    pivot_by: str | None = None
    sheet: str | None = None
