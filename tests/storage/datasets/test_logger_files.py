"""Files as loggers write them: what they say is read, or told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from errors import InvalidContent
from storage.datasets.hints import UploadHints
from storage.datasets.recordings.recording_csv import read_recording_csv
from storage.datasets.tables.reading import read_table
from storage.datasets.tables.table import DataTable
from storage.datasets.tables.validation import validate_table
from storage.times import format_nanoseconds

Read = Callable[[str], DataTable]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_text(text: str) -> DataTable:
        (tmp_path / "upload").write_text(text)
        return read_table(tmp_path / "upload", 1 << 20)

    return read_text


def codes(table: DataTable) -> list[str]:
    return [finding.code for finding in validate_table(table)]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("time", "2024-01-{day:02d} {hour:02d}:00:00"),
        ("time", "{day:02d}.01.2024 {hour:02d}:00"),
        ("time", "2024-01-{day:02d}T{hour:02d}:00:00.000Z"),
        ("Date,Time", "2024-01-{day:02d},{hour:02d}:00"),
    ],
)
def test_hours_from_1_to_24_are_an_even_series(read: Read, header: str, row: str) -> None:
    rows = [row.format(day=1 + n // 24, hour=n % 24 + 1) + f",{n % 5}\n" for n in range(48)]
    table = read(f"{header},flow\n{''.join(rows)}")
    assert table.times is not None
    assert format_nanoseconds(table.times[23]) == "2024-01-02T00:00:00Z"
    assert set(codes(table)) <= {"joined_date_and_time"}


def test_an_hour_beyond_24_is_no_time(read: Read) -> None:
    rows = "".join(f"2024-01-01 {hour}:30:00,{hour}\n" for hour in range(15, 25))
    (finding,) = (f for f in validate_table(read(f"time,flow\n{rows}")) if f.code == "unreadable_timestamps")
    assert finding.rows == (10,)


def test_a_row_without_a_time_of_day_is_not_of_midnight(read: Read) -> None:
    rows = "".join(f"2024-01-01,{'' if hour == 5 else f'{hour:02d}:00'},{hour}\n" for hour in range(10))
    table = read(f"Date,Time,flow\n{rows}")
    assert "duplicate_timestamps" not in codes(table)
    (finding,) = (f for f in validate_table(table) if f.code == "unreadable_timestamps")
    assert finding.rows == (6,)


@pytest.mark.parametrize("name", ["time_ms", "epoch_ms", "Timestamp (ms)", "unix_time", "ts"])
def test_times_since_1970_are_known_by_names_with_a_unit(read: Read, name: str) -> None:
    table = read(f"{name},flow\n" + "".join(f"{1704067200000 + 60_000 * n},{n}\n" for n in range(5)))
    assert (table.columns, table.time_column, table.frequency_ns) == (("flow",), name, 60 * 10**9)


def test_counts_of_milliseconds_from_the_start_are_no_times_since_1970(read: Read) -> None:
    assert read("time_ms,flow\n" + "".join(f"{10 * n},{n}\n" for n in range(5))).time_column is None


def test_seconds_with_decimals_are_exact(read: Read) -> None:
    table = read("time,flow\n" + "".join(f"{1704067200 + n / 1000:.3f},{n}\n" for n in range(5)))
    assert table.times is not None
    assert [format_nanoseconds(time) for time in table.times[1:3]] == [
        "2024-01-01T00:00:00.001Z",
        "2024-01-01T00:00:00.002Z",
    ]


HOBO = (
    '"Plot Title: pump 7"\n"#","Date Time, GMT+01:00","Temp, °C (LGR S/N: 1)"\n'
    + "".join(f"{n},01/{n:02d}/24 01:00:00 PM,2{n}.5\n" for n in range(1, 20))
)  # fmt: skip


def test_the_counter_of_a_logger_is_no_channel_and_its_offset_is_told(read: Read) -> None:
    table = read(HOBO)
    assert table.columns == ("Temp, °C (LGR S/N: 1)",)
    notes = {note.code: note.message for note in table.notes}
    assert set(notes) == {"preamble", "index_column", "offset_in_name"}
    assert notes["offset_in_name"].startswith("'Date Time, GMT+01:00' states an offset")


def test_recordings_have_the_rate_that_such_a_column_shows() -> None:
    text = "time_us,x\n" + "".join(f"{1704067200_000_000 + 1000 * n},{n % 3}\n" for n in range(50))
    (segment,) = read_recording_csv(text.encode(), UploadHints()).segments
    assert segment.waveform.channels == ("x",)


def test_recordings_have_an_exact_rate_from_seconds_with_decimals() -> None:
    text = "time,x\n" + "".join(f"{1704067200 + n / 1000:.3f},{n % 3}\n" for n in range(50))
    (segment,) = read_recording_csv(text.encode(), UploadHints()).segments
    assert (segment.waveform.channels, segment.waveform.sampling_rate_hz) == (("x",), 1000)


def test_shortened_times_are_no_channel_of_a_recording() -> None:
    text = "time,x\n" + "".join(f"1.70407E+12,{n % 3}\n" for n in range(50))
    with pytest.raises(InvalidContent, match="a spreadsheet may have shortened them"):
        read_recording_csv(text.encode(), UploadHints())
