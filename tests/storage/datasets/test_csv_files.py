"""CSV uploads: what a table leaves out holds nothing, or the file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import InvalidContent
from storage.datasets.csv_files import read_batches, read_dicts, read_layout
from storage.datasets.hints import UploadHints
from storage.datasets.recordings.recording_csv import read_recording_csv
from storage.text.csv_layout import find_layout

LATE_CELL = "a,b,\n" + "1,2,\n" * 600 + "1.5,2,999\n"


def test_a_cell_in_a_column_without_a_name_is_never_left_out(tmp_path: Path) -> None:
    """Also where it comes after the lines by which the layout was chosen."""
    file = tmp_path / "a.csv"
    file.write_text(LATE_CELL)
    with file.open("rb") as stream:
        layout = read_layout(stream)
    assert layout.empty_columns == (2,)
    with pytest.raises(InvalidContent, match="column without a name"):
        list(read_batches(file, layout))
    with pytest.raises(InvalidContent, match="line 602 has a cell in a column without a name"):
        read_dicts(LATE_CELL.encode())
    with pytest.raises(InvalidContent, match="column without a name"):
        read_recording_csv(LATE_CELL.encode(), UploadHints())


def test_texts_that_are_words_for_times_make_no_header() -> None:
    names, rows = read_dicts(b"recording,label\na.wav,nuit\nb.wav,jour\nc.wav,nuit\nd.wav,nuit\n")
    assert names == ["recording", "label"]
    assert [row["recording"] for row in rows] == ["a.wav", "b.wav", "c.wav", "d.wav"]


def test_samples_whose_rows_end_in_a_delimiter_have_no_header() -> None:
    file = read_recording_csv(("0.5;1.5;\n" + "1.5;2.5;\n" * 99).encode(), UploadHints())
    (segment,) = file.segments
    assert segment.waveform.samples.shape == (100, 2)


def test_every_row_of_units_is_told() -> None:
    text = "TIMESTAMP,RECORD,temp\nTS,RN,Deg C\n,,Avg\n" + "2024-01-01,1,3.5\n" * 5
    layout = find_layout(text)
    assert layout.skip_lines == 3
    (count,) = [count for code, _, count in layout.notes() if code == "unit_row"]
    assert count == 2
