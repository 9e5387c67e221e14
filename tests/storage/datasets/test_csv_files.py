"""CSV uploads: what a table leaves out holds nothing, or the file is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from errors import InvalidContent
from storage.datasets.csv_files import read_batches, read_dicts, read_layout
from storage.datasets.hints import UploadHints
from storage.datasets.recordings.recording_csv import read_recording_csv
from storage.datasets.tables.reading import read_table
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


def read_upload(folder: Path, text: str) -> None:
    (folder / "upload").write_text(text, newline="")
    read_table(folder / "upload", 1 << 20)


def test_a_broken_row_is_named_by_the_line_that_an_editor_shows(tmp_path: Path) -> None:
    rows = 'time,note,flow\n2024-01-01,"two\nlines",1\n\n2024-01-02,b,2\n2024-01-03,3\n'
    labels = 'recording,label\na.wav,"two\nlines"\nb.wav,"two\nlines",x\n'
    for ends in ("\n", "\r\n", "\r"):
        with pytest.raises(InvalidContent, match="line 6 has 2 cells"):
            read_upload(tmp_path, rows.replace("\n", ends))
        with pytest.raises(InvalidContent, match="line 4 has 3 cells"):
            read_dicts(labels.replace("\n", ends).encode())
    with pytest.raises(InvalidContent, match="line 5 has 1 cells"):
        read_recording_csv(b'label,flow\n"two\nlines",1\nb,2\n3\n', UploadHints())


OPEN_QUOTE = '2024-01-01,1\n2024-01-02\n"2024-01-03,3\n'
ROW = "2024-01-04,4\n"


@pytest.mark.parametrize(
    ("above", "below", "reason"),
    [
        (0, 1, "a quote opens in line 4 and is never closed"),
        # A cell may have 131,072 characters for Python's csv.
        (0, 40_000, "near line 4: .* Does a quote open there that is never closed"),
        (100_000, 40_000, r"a quote opens in a row \('\"2024-01-03,3.*'\) and is never closed"),
    ],
)
def test_a_quote_that_nothing_closes_is_the_cause_of_a_broken_row(
    tmp_path: Path, above: int, below: int, reason: str
) -> None:
    text = "time,flow\n" + ROW * above + OPEN_QUOTE + ROW * below
    with pytest.raises(InvalidContent, match=reason):
        read_upload(tmp_path, text)
    with pytest.raises(InvalidContent, match=reason):
        read_recording_csv(text.encode(), UploadHints())


def test_texts_that_are_words_for_times_make_no_header() -> None:
    names, rows = read_dicts(b"recording,label\na.wav,nuit\nb.wav,jour\nc.wav,nuit\nd.wav,nuit\n")
    assert names == ["recording", "label"]
    assert [row["recording"] for row in rows] == ["a.wav", "b.wav", "c.wav", "d.wav"]


def test_numbers_that_name_columns_keep_their_text(tmp_path: Path) -> None:
    names = UploadHints(pivot_by="name")
    (tmp_path / "upload").write_text("time,name,flow\n2024-01-01,007,1\n2024-01-01,12.0,2\n")
    assert read_table(tmp_path / "upload", 1 << 20, names).columns == ("007", "12.0")
    frame = pd.DataFrame({"time": ["2024-01-01"] * 2, "name": [7.0, 12.0], "flow": [1.0, 2.0]})
    frame.to_parquet(tmp_path / "upload")
    assert read_table(tmp_path / "upload", 1 << 20, names).columns == ("7", "12")


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
