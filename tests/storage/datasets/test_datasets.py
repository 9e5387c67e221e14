"""An upload becomes a dataset with a report that names exact rows; a fix is applied only when asked for."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from errors import BodyTooLarge, InvalidContent, NotFound
from storage.datasets.findings import FindingDict
from storage.datasets.hints import UploadHints
from storage.datasets.store import Dataset, DatasetStore
from storage.times import format_nanoseconds, most_common_step

HOURLY = "time,load,oil\n" + "".join(f"2024-01-01 {h:02d}:00:00,{h},{h * h}\n" for h in range(10))


@pytest.fixture
def store(tmp_path) -> DatasetStore:
    return DatasetStore(tmp_path / "datasets", max_bytes=1 << 20)


def put(store: DatasetStore, text: str | bytes, name: str = "data.csv") -> Dataset:
    return store.receive(io.BytesIO(text.encode() if isinstance(text, str) else text), name)


def finding_codes(dataset: Dataset) -> dict[str, FindingDict]:
    return {finding["code"]: finding for finding in dataset.facts["findings"]}


def lines(*rows: str) -> str:
    return "time,load\n" + "\n".join(rows) + "\n"


def test_a_sound_table_is_described_and_nothing_is_found(store):
    facts = put(store, HOURLY).facts
    assert (facts["rows"], facts["numeric"], facts["time_column"]) == (10, ["load", "oil"], "time")
    assert (facts["frequency_seconds"], facts["first_timestamp"], facts["last_timestamp"]) == (
        3600, "2024-01-01T00:00:00Z", "2024-01-01T09:00:00Z",
    )  # fmt: skip
    assert facts["findings"] == []
    assert facts["types"] == {"time": "time", "load": "number", "oil": "number"}


def test_the_numbers_are_mapped_from_disk(store):
    table = put(store, HOURLY).table()
    assert isinstance(table.values, np.memmap)
    np.testing.assert_array_equal(table.values[:, 1], np.arange(10.0) ** 2)
    assert table.regular_steps().all()


def test_a_gzipped_and_a_parquet_file_read_like_the_csv(store, tmp_path):
    plain = put(store, HOURLY)
    packed = put(store, gzip.compress(HOURLY.encode()), "data.csv.gz")
    times = pa.array(plain.table().times).cast(pa.timestamp("ns"))
    columns = {name: plain.table().values[:, i] for i, name in enumerate(["load", "oil"])}
    pq.write_table(pa.table({"time": times, **columns}), tmp_path / "data.parquet")
    parquet = put(store, (tmp_path / "data.parquet").read_bytes(), "data.parquet")
    for other in (packed, parquet):
        np.testing.assert_array_equal(other.table().values, plain.table().values)
        np.testing.assert_array_equal(other.table().times, plain.table().times)


def test_unordered_and_duplicate_times_are_named_by_row(store):
    text = lines("2024-01-01,1", "2024-01-03,3", "2024-01-02,2", "2024-01-04,4", "2024-01-04,5")
    report = finding_codes(put(store, text))
    assert report["unordered_timestamps"]["rows"] == [3]
    assert report["duplicate_timestamps"]["rows"] == [5]
    assert report["duplicate_timestamps"]["fix"] == "drop_duplicate_timestamps"


def local_times(minutes: int, zone: str = "Europe/Berlin") -> list[str]:
    """Return rows over the night in which clocks are set back, as a logger without offsets writes them."""
    start = datetime(2024, 10, 26, 20, tzinfo=UTC)
    times = [start + timedelta(minutes=minutes) * n for n in range(24 * 60 // minutes)]
    return [f"{time.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M},{n}" for n, time in enumerate(times)]


@pytest.mark.parametrize("minutes", [60, 30, 10])
def test_the_hour_that_repeats_in_autumn_is_no_row_too_many(store, minutes):
    rows = local_times(minutes)
    report = finding_codes(put(store, lines(*rows)))
    times = [row[:16] for row in rows]
    repeated = [n for n, time in enumerate(times, 1) if time in times[: n - 1]]
    found = report["repeated_hour"]
    assert len(repeated) == 60 // minutes and (found["rows"], found["fix"]) == (repeated, None)
    assert "2024-10-27" in found["message"] and "offset" in found["message"]
    assert not report.keys() & {"duplicate_timestamps", "unordered_timestamps"}


def test_rows_that_repeat_at_other_times_are_still_duplicates(store):
    weekday = [row.replace("2024-10-27", "2024-10-29") for row in local_times(30) if "10-27" in row]
    assert "repeated_hour" not in finding_codes(put(store, lines(*weekday)))
    rows = local_times(30)
    report = finding_codes(put(store, lines(*rows[:30], rows[29], *rows[30:])))
    assert report["repeated_hour"]["count"] == 2 and report["duplicate_timestamps"]["rows"] == [31]


@pytest.mark.parametrize("cells", [["1.736E+12", "1.736E+12", "1.737E+12"], ["1,736E+12"] * 3])
def test_times_that_a_spreadsheet_has_shortened_are_refused(store, cells):
    text = "".join(f"{cell};{n}\n" for n, cell in enumerate(cells))
    with pytest.raises(InvalidContent, match="'time' are numbers that a spreadsheet has shortened"):
        put(store, "time;load\n" + text)
    # As NumPy writes them, nothing is lost.
    full = "".join(f"{1.736e9 + n:.18e};{n}\n" for n in range(5))
    assert put(store, "time;load\n" + full).facts["frequency_seconds"] == 1


def test_missing_and_irregular_times_are_named_by_row(store):
    hours = [0, 1, 2, 5, 6, 7.5, 8.5, 9.5]
    rows = [f"2024-01-01 {int(h):02d}:{int(h % 1 * 60):02d}:00,{h}" for h in hours]
    report = finding_codes(put(store, lines(*rows)))
    assert report["missing_timestamps"]["rows"] == [3]
    assert report["missing_timestamps"]["values"] == ["2024-01-01T02:00:00Z: 2 missing"]
    assert report["irregular_timestamps"]["rows"] == [6]


def test_cells_that_are_no_numbers_are_named_with_row_and_value(store):
    text = lines("2024-01-01,1", "2024-01-02,broken", "2024-01-03,", "2024-01-04,4", "2024-01-05,1e3")
    report = finding_codes(put(store, text))
    assert (report["non_numeric_cells"]["rows"], report["non_numeric_cells"]["values"]) == ([2], ["broken"])
    assert (report["missing_cells"]["rows"], report["missing_cells"]["column"]) == ([3], "load")


def test_rows_are_counted_over_block_borders(store, tmp_path):
    store = DatasetStore(tmp_path / "large", max_bytes=64 << 20)
    rows = [f"2024-01-01,{n}" for n in range(600_000)]
    rows[599_998] = "2024-01-01,oops"
    assert finding_codes(put(store, lines(*rows)))["non_numeric_cells"]["rows"] == [599_999]


def test_a_constant_column_and_an_unreadable_time_are_told(store):
    rows = [f"2024-01-{day:02d},7" for day in range(1, 10)]
    rows[4] = "yesterday,7"
    report = finding_codes(put(store, lines(*rows)))
    assert report["constant_column"]["message"] == "'load' is always 7"
    assert report["unreadable_timestamps"]["rows"] == [5]


def test_a_table_without_times_says_so(store):
    report = finding_codes(put(store, "a,b\n1,2\n3,4\n"))
    assert "no_time_column" in report


@pytest.mark.parametrize(
    ("cells", "first", "step"),
    [
        (["31/12/2023 22:00", "31/12/2023 23:00"], "2023-12-31T22:00:00Z", 3600),
        (["12/30/2023", "12/31/2023"], "2023-12-30T00:00:00Z", 86400),
        (["2023-12-31T22:00:00+01:00", "2023-12-31T22:00:01+01:00"], "2023-12-31T21:00:00Z", 1),
        (["2023-12-31 22:00:00.25", "2023-12-31 22:00:00.50"], "2023-12-31T22:00:00.25Z", 0.25),
    ],
)
def test_timestamps_are_read_as_people_write_them(store, cells, first, step):
    facts = put(store, lines(*(f"{cell},{n}" for n, cell in enumerate(cells)))).facts
    assert (facts["first_timestamp"], facts["frequency_seconds"]) == (first, step)


def test_seconds_since_1970_are_a_time(store):
    facts = put(store, "timestamp,load\n1700000000,1\n1700000060,2\n").facts
    assert (facts["time_column"], facts["frequency_seconds"]) == ("timestamp", 60)


def test_semicolons_with_decimal_commas_are_read(store):
    table = put(store, "time;load\n2024-01-01;1,5\n2024-01-02;2,25\n").table()
    assert table.values[:, 0].tolist() == [1.5, 2.25]


def test_text_columns_are_kept_out(store):
    facts = put(store, "time,load,remark\n2024-01-01,1,fine\n2024-01-02,2,hot\n").facts
    assert (facts["numeric"], facts["texts"]) == (["load"], ["remark"])


def test_seconds_since_1970_are_the_time_and_no_number_to_learn_from(store):
    facts = put(store, "ts,load\n1710892800,1\n1710896400,2\n").facts
    assert (facts["time_column"], facts["first_timestamp"]) == ("ts", "2024-03-20T00:00:00Z")
    assert (facts["numeric"], facts["columns"]) == (["load"], ["load"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"a,b\n", "no rows"),
        (b"a,a\n1,2\n", "name of its own; at fault: 'a'"),
        (b",".join(b"%d,%d" % (n, n) for n in range(99)) + b"\n", "'0', '1', '2', '3', '4', …"),
        (b"1," * 100_000 + b"1\n", "may have 1,000 columns"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 cells"),
        (b"a,b\nx,y\nz,w\n", "no numeric column"),
        (b"a\0b,c\n1,2\n", "NUL"),
        (b"\x1f\x8bbroken", "damaged"),
        (b"PAR1 no parquet", "cannot be read"),
        (b"\xff\xfea,b\n1,2\n", "Save it as UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "Save it as UTF-8"),
        ("a;Öl\n1;2\n".encode("latin-1"), "Save it as UTF-8"),
    ],
)
def test_what_is_no_table_is_refused_and_nothing_is_kept(store, tmp_path, content, said):
    with pytest.raises(InvalidContent, match=said):
        put(store, content)
    assert list((tmp_path / "datasets" / "default").iterdir()) == []


def test_an_upload_over_the_limit_is_refused_also_where_it_unfolds(store):
    with pytest.raises(BodyTooLarge):
        put(store, b"a,b\n" + b"1,2\n" * (1 << 19))
    with pytest.raises(BodyTooLarge, match="unfolds"):
        put(store, gzip.compress(b"a,b\n" + b"1,2\n" * (1 << 19)))
    folded = io.BytesIO()
    pq.write_table(pa.table({"a": np.zeros(1 << 18)}), folded)
    assert len(folded.getvalue()) < 1 << 16
    with pytest.raises(BodyTooLarge, match="unfolds"):
        put(store, folded.getvalue())


def test_a_fix_makes_another_dataset_and_leaves_the_first_alone(store):
    first = put(store, lines("2024-01-01,1", "2024-01-03,3", "2024-01-02,", "2024-01-03,4", "2024-01-06,9"))
    fixes = [
        "interpolate_missing_cells",
        "sort_by_time",
        "drop_duplicate_timestamps",
        "fill_missing_timestamps",
    ]
    second = store.fix(first.id, fixes)
    table = second.table()
    assert table.values[:, 0].tolist() == pytest.approx([1, 2.5, 4, 5 + 2 / 3, 7 + 1 / 3, 9])
    assert [format_nanoseconds(time)[:10] for time in table.times] == [
        f"2024-01-0{day}" for day in range(1, 7)
    ]
    assert (second.facts["parent"], second.facts["findings"]) == (first.id, [])
    assert np.isnan(store.get(first.id).table().values).sum() == 1


def test_resampling_makes_an_even_grid(store):
    rows = [f"2024-01-01 00:00:{second:02d},{second}" for second in (0, 2, 4, 6, 9, 10)]
    table = store.fix(put(store, lines(*rows)).id, ["resample"]).table()
    assert table.regular_steps().all()
    assert table.values[:, 0].tolist() == [0, 2, 4, 6, 8, 10]


MONTH_ENDS = [
    str(end) for end in np.arange("2015-03", "2023-03", dtype="datetime64[M]").astype("datetime64[D]") - 1
]
WORKING_DAYS = [str(day) for day in np.busday_offset("2024-01-01", np.arange(20), roll="forward")]


@pytest.mark.parametrize("fix", ["resample", "fill_missing_timestamps"])
@pytest.mark.parametrize("days", [MONTH_ENDS, WORKING_DAYS])
def test_fixes_make_the_times_that_a_calendar_has(store, fix, days):
    rows = [f"{day},{number}" for number, day in enumerate(days)]
    del rows[3:5]
    table = store.fix(put(store, lines(*rows)).id, [fix]).table()
    assert [format_nanoseconds(time)[:10] for time in table.times] == days


@pytest.mark.parametrize("fixes", [[], ["polish"], ["fill_missing_timestamps"]])
def test_a_fix_that_does_not_suit_is_refused(store, fixes):
    dataset = put(store, lines("2024-01-02,1", "2024-01-01,3"))
    with pytest.raises(InvalidContent):
        store.fix(dataset.id, fixes)


def test_datasets_are_listed_previewed_deleted_and_private(store):
    dataset = put(store, HOURLY)
    assert [entry.id for entry in store.list()] == [dataset.id]
    assert store.preview(dataset.id, count=1)["rows"] == [
        {"time": "2024-01-01T00:00:00Z", "load": 0, "oil": 0}
    ]
    for other in ("ds-000000000000", "../default", dataset.id + "/.."):
        with pytest.raises(NotFound):
            store.get(other)
    with pytest.raises(NotFound):
        store.get(dataset.id, "another")
    store.delete(dataset.id)
    assert store.list() == []


def test_the_usual_step_is_the_most_common_one():
    assert most_common_step(np.array([0, 10, 20, 50, 60])) == 10
    assert most_common_step(np.array([5])) is None


def test_nothing_is_left_behind(store, tmp_path):
    put(store, gzip.compress(HOURLY.encode()))
    (folder,) = (tmp_path / "datasets" / "default").iterdir()
    assert sorted(path.name for path in Path(folder).iterdir()) == ["dataset.json", "times.npy", "values.npy"]


def parquet(**columns) -> bytes:
    packed = io.BytesIO()
    pq.write_table(pa.table(columns), packed)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n\n", "blank"),
        (b"time,a", "no rows"),
        (b"time,a\n\n  \n", "no rows"),
        (b'[{"a": 1}, {"a": 2}]', "JSON"),
        (b"<html></html>\n", "web page"),
        (b"a,,c,\n1,2,3,4\n", "column 2, 4"),
        (b"x" * 300 + b"\n1\n", "200 characters"),
        (b"x" * 300_000 + b"\n1\n", "cannot be read near line 1: field larger"),
        (b"x" * (1 << 20), "megabyte"),
        (b'a,"b\nc"\n1,2\n', "one line"),
        (b"2024-01-01,1,2\n2024-01-02,3,4\n", "holds values"),
        (b"1.5,0.5\n1.6,0.6\n", "holds values"),
        (b",".join(b"c%d" % n for n in range(10_000)) + b"\n1\n", "1,000 columns"),
        (gzip.compress(HOURLY.encode() * 9, mtime=0)[:60] + b"\0" * 30, "gzip file is damaged"),
        (parquet(a=[1.0])[:-20], "cannot be read as a table"),
        (b"PAR1" + b"\0" * 100 + b"PAR1", "cannot be read as a table"),
    ],
)
def test_bad_uploads_are_refused_in_words(store, content, said):
    with pytest.raises(InvalidContent, match=said):
        put(store, content)


def test_a_damaged_parquet_file_is_never_our_fault(store):
    whole = parquet(t=[str(n) for n in range(500)], a=[float(n) for n in range(500)])
    assert put(store, whole)
    places = range(4, len(whole) - 4, 41)
    refusals = []
    for place in places:
        damaged = whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :]
        try:
            put(store, damaged)
        except (InvalidContent, BodyTooLarge) as refusal:
            refusals.append(refusal.message)
    assert len(refusals) > len(places) // 4, "without checksums, some bytes are as good as others"
    assert all(refusals)


def test_a_table_may_not_unfold_beyond_the_limit_in_memory_either(store):
    with pytest.raises(BodyTooLarge, match="numbers"):
        put(store, "a,b\n" + "1,2\n" * 140_000)
    with pytest.raises(BodyTooLarge):
        put(store, parquet(a=["x" * 100_000] * 9 + ["y" * 2_000_000], b=[1.0] * 10))


def test_rising_numbers_may_be_names(store):
    assert put(store, "0,1,2\n5,6,7\n").facts["columns"] == ["0", "1", "2"]


def test_blank_lines_above_the_names_are_passed_over(store):
    assert put(store, "\n\na,b\n1,2\n").facts["columns"] == ["a", "b"]


def test_parquet_files_of_other_writers(store):
    days = pa.array([f"2024-01-{day:02d}" for day in range(1, 10)])
    for told in (days.cast(pa.large_string()), days.dictionary_encode(), days.cast(pa.string_view())):
        assert put(store, parquet(day=told, a=pa.array(range(9)))).facts["time_column"] == "day"
    large = put(store, parquet(a=pa.array([2**60 + n for n in range(9)]), b=[[1.0]] * 9))
    assert (large.facts["numeric"], large.facts["texts"]) == (["a"], ["b"])


def test_parquet_times_beyond_nanoseconds_are_unreadable_and_infinite_cells_named(store):
    times = pa.array([0, 60, 120, 10**12], pa.timestamp("s"))
    report = finding_codes(put(store, parquet(t=times, a=[1.0, float("inf"), 2.0, 3.0])))
    assert report["unreadable_timestamps"]["rows"] == [4]
    assert (report["non_numeric_cells"]["rows"], report["non_numeric_cells"]["values"]) == ([2], ["inf"])


def test_a_number_beyond_all_numbers_is_named(store):
    report = finding_codes(put(store, lines("2024-01-01,1", "2024-01-02,1e999", "2024-01-03,2")))
    assert (report["non_numeric_cells"]["rows"], report["non_numeric_cells"]["values"]) == ([2], ["1e999"])


def test_a_text_column_is_told_with_its_first_cells(store):
    report = finding_codes(put(store, "a,share\n1,5%\n2,7%\n3,9%\n"))
    assert (report["text_column"]["column"], report["text_column"]["values"]) == ("share", ["5%", "7%", "9%"])


def test_extreme_cells_are_named_and_emptied_when_asked(store):
    rows = [f"2024-01-01 00:{n:02d},{n % 7}" for n in range(60)]
    rows[40] = "2024-01-01 00:40,1e30"
    rows[50] = "2024-01-01 00:50,-99999"
    dataset = put(store, lines(*rows))
    extreme = finding_codes(dataset)["extreme_cells"]
    assert (extreme["rows"], extreme["values"]) == ([41, 51], ["1e+30", "-99999"])
    repaired = store.fix(dataset.id, [extreme["fix"]])
    assert np.isnan(repaired.table().values[[40, 50], 0]).all() and "extreme_cells" not in finding_codes(
        repaired
    )


def test_rare_spikes_above_nothing_are_not_extreme(store):
    rain = [f"2024-01-01 00:{n:02d},{n if n % 20 == 19 else 0}" for n in range(60)]
    assert "extreme_cells" not in finding_codes(put(store, lines(*rain)))


@pytest.mark.parametrize(
    ("cells", "last"),
    [
        ([f"01/{day:02d}/2024 {hour:02d}:00" for day in range(2, 32) for hour in range(24)], "2024-01-31T23"),
        ([f"{day:02d}/{month:02d}/2024" for month in (3, 4) for day in range(1, 13)], "2024-04-12"),
        ([f"{month:02d}/{day:02d}/2024" for month in (3, 4) for day in range(1, 13)], "2024-04-12"),
        ([f"01/02/2024 {h}:30 {half}" for half in ("AM", "PM") for h in range(1, 13)], "2024-02-01T"),
        ([f"{day:02d}-Jan-2024" for day in range(1, 31)], "2024-01-30"),
        ([f"{day:02d}.01.24" for day in range(1, 31)], "2024-01-30"),
        ([f"1990/1/{day} 0:00" for day in range(1, 31)], "1990-01-30"),
    ],
)  # fmt: skip
def test_days_and_months_are_told_apart_by_order_and_from_everywhere(store, cells, last):
    facts = put(store, lines(*(f"{cell},{n}" for n, cell in enumerate(cells)))).facts
    assert facts["time_column"] == "time"
    assert facts["last_timestamp"].startswith(last)
    assert "unreadable_timestamps" not in {finding["code"] for finding in facts["findings"]}


@pytest.mark.parametrize("text", ['"a, kW";b\n1,5;2\n2,5;3\n', '"a, kW"\tb\n1.5\t2\n2.5\t3\n'])
def test_the_delimiter_is_what_the_first_line_has_most_of_outside_quotes(store, text):
    table = put(store, text).table()
    assert (table.columns, table.values[:, 0].tolist()) == (("a, kW", "b"), [1.5, 2.5])


def test_a_dataset_of_version_0_1_is_read_with_todays_names(store):
    dataset = put(store, HOURLY)
    path = dataset.folder / "dataset.json"
    facts = json.loads(path.read_bytes())
    facts["first"], facts["last"] = facts.pop("first_timestamp"), facts.pop("last_timestamp")
    del facts["kind"]
    path.write_text(json.dumps(facts))
    assert store.get(dataset.id).facts == dataset.facts


def stamps(times: np.ndarray) -> list[str]:
    return [str(np.datetime64(int(time), "ns")) for time in times]


def test_a_clock_that_jitters_is_regular_and_a_log_of_changes_is_told_as_such(store):
    chance = np.random.default_rng(0)
    jittered = (np.arange(600) * 60e9 + chance.uniform(-0.5e9, 0.5e9, 600)).astype(np.int64)
    dataset = put(store, lines(*(f"{time},{n}" for n, time in enumerate(stamps(jittered)))))
    assert dataset.facts["frequency_seconds"] == 60
    assert finding_codes(dataset).keys() == set()
    assert dataset.table().regular_steps().all()
    events = np.cumsum(chance.exponential(60e9, 600)).astype(np.int64)
    report = finding_codes(put(store, lines(*(f"{time},{n}" for n, time in enumerate(stamps(events))))))
    assert report.keys() == {"event_driven_timestamps"}
    assert report["event_driven_timestamps"]["fix"] == "resample"


def test_of_days_and_months_the_order_with_even_steps_is_taken_and_told(store):
    march = lines(*(f"03/{day:02d}/2024,{day}" for day in range(1, 13)))
    dataset = put(store, march)
    assert dataset.facts["last_timestamp"] == "2024-03-12T00:00:00Z"
    assert "send date_order=day" in finding_codes(dataset)["assumed_date_order"]["message"]
    asked = store.receive(io.BytesIO(march.encode()), "march.csv", hints=UploadHints(date_order="day"))
    assert asked.facts["last_timestamp"] == "2024-12-03T00:00:00Z"
    assert "assumed_date_order" not in finding_codes(asked)


@pytest.mark.parametrize(
    ("cells", "last"),
    [
        (["1949-01", "1949-02", "1949-03"], "1949-03-01T00:00:00Z"),
        (["04-Mar-24 00:00:00", "04-Mar-24 01:00:00"], "2024-03-04T01:00:00Z"),
        (["2024-01-01 00:00 UTC", "2024-01-01 01:00 UTC"], "2024-01-01T01:00:00Z"),
    ],
)
def test_more_ways_to_write_times_are_read(store, cells, last):
    facts = put(store, lines(*(f"{cell},{n}" for n, cell in enumerate(cells)))).facts
    assert facts["last_timestamp"] == last


def test_holidays_among_working_days_are_named_and_need_no_fix(store):
    days = np.delete(np.busday_offset(np.datetime64("2024-01-01"), np.arange(60)), [8, 30, 31])
    dataset = put(store, lines(*(f"{day},{n % 7}" for n, day in enumerate(days))))
    (finding,) = dataset.facts["findings"]
    assert (finding["code"], finding["count"], finding["fix"]) == ("holidays", 2, None)
    assert finding["values"] == ["2024-01-10T00:00:00Z: 1 missing", "2024-02-09T00:00:00Z: 2 missing"]
    assert dataset.table().regular_steps().all()
    # Who knows better may fill them.
    filled = store.fix(dataset.id, ["fill_missing_timestamps"])
    assert filled.table().rows == 60 and np.isnan(filled.table().values).sum() == 3


def test_more_missing_working_days_than_holidays_have_are_a_gap(store):
    days = np.delete(np.busday_offset(np.datetime64("2024-01-01"), np.arange(60)), np.arange(20, 26))
    dataset = put(store, lines(*(f"{day},{n % 7}" for n, day in enumerate(days))))
    (finding,) = dataset.facts["findings"]
    assert (finding["code"], finding["fix"]) == ("missing_timestamps", "fill_missing_timestamps")
    assert list(np.flatnonzero(~dataset.table().regular_steps())) == [20]


@pytest.mark.parametrize(
    ("text", "code", "columns", "values"),
    [
        ("sep=;\ntime;load\n2024-01-01;1,5\n2024-01-02;2,5\n", None, ["load"], [1.5, 2.5]),
        ("Logger 4711\nSite: north\n\ntime,load\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n",
         "preamble", ["load"], [1, 2, 3]),
        ("time,load\n,kW\n2024-01-01,1\n2024-01-02,2\n", "unit_row", ["load"], [1, 2]),
        ("time,load,\n2024-01-01,1,\n2024-01-02,2,\n", "empty_columns", ["load"], [1, 2]),
        ("time,load\n2024-01-01,1\n,\n2024-01-02,2\n,\n", "blank_rows", ["load"], [1, 2]),
        ("time;load\n2024-01-01;1.5\n2024-01-02;2.5\n", None, ["load"], [1.5, 2.5]),
    ],
)  # fmt: skip
def test_what_loggers_and_spreadsheets_add_to_a_table_is_left_out_and_told(
    store, text, code, columns, values
):
    dataset = put(store, text)
    assert (dataset.facts["numeric"], dataset.table().values[:, 0].tolist()) == (columns, values)
    assert set(finding_codes(dataset)) == ({code} if code else set())


def test_a_gzipped_file_may_not_unfold_to_very_many_times_its_size(tmp_path):
    store = DatasetStore(tmp_path)
    with pytest.raises(BodyTooLarge, match="250 times"):
        put(store, gzip.compress(b"a,b\n" + b"1,2\n" * (2 << 20)))


@pytest.mark.parametrize("share", [1, 10, 40])
def test_numbers_that_stand_for_missing_values_are_told_at_any_share_and_emptied_when_asked(store, share):
    rows = [f"2024-01-01 00:{n:02d},{-9999 if n * 100 < share * 60 and n else 20 + n % 7}" for n in range(60)]
    rows[-1] = "2024-01-01 00:59,-9999"
    dataset = put(store, lines(*rows))
    finding = finding_codes(dataset)["placeholder_values"]
    assert (finding["values"], finding["fix"]) == (["-9999"], "empty_placeholder_values")
    repaired = store.fix(dataset.id, [finding["fix"]])
    assert np.isnan(repaired.table().values).sum() == finding["count"]
    assert "placeholder_values" not in finding_codes(repaired)


def test_a_number_near_its_neighbours_stands_for_itself(store):
    rows = [f"2024-01-01 00:{n:02d},{9990 + n}" for n in range(60)]
    assert "placeholder_values" not in finding_codes(put(store, lines(*rows)))


def test_dates_and_times_of_day_in_two_columns_are_one_time(store):
    rows = [f"2024-01-{day:02d},{hour:02d}:00,{hour}" for day in (1, 2) for hour in range(24)]
    dataset = put(store, "Date,Time,load\n" + "\n".join(rows) + "\n")
    assert (dataset.facts["time_column"], dataset.facts["frequency_seconds"]) == ("Date", 3600)
    assert set(finding_codes(dataset)) == {"joined_date_and_time"}


def test_a_long_table_is_told_and_pivoted_when_asked_and_no_row_is_called_a_duplicate(store):
    rows = [f"2024-01-{day:02d},{tag},{day * factor}" for day in range(1, 10)
            for tag, factor in (("oil", 1), ("load", 10))]  # fmt: skip
    text = "time,tag,value\n" + "\n".join(rows) + "\n"
    report = finding_codes(put(store, text))
    assert "pivot_by=tag" in report["long_table"]["message"]
    assert report["duplicate_timestamps"]["fix"] is None
    wide = store.receive(io.BytesIO(text.encode()), "long.csv", hints=UploadHints(pivot_by="tag"))
    assert (wide.facts["numeric"], wide.facts["rows"], wide.facts["findings"]) == (["oil", "load"], 9, [])
    np.testing.assert_array_equal(wide.table().values[:, 1], 10 * np.arange(1, 10))
    with pytest.raises(InvalidContent, match="pivot_by names 'colour'"):
        store.receive(io.BytesIO(text.encode()), "long.csv", hints=UploadHints(pivot_by="colour"))


def test_a_fix_is_previewed_with_what_it_would_change(store):
    text = lines("2024-01-01,1", "2024-01-02,2", "2024-01-02,3", "2024-01-05,", "2024-01-06,6")
    dataset = put(store, text)
    preview = store.preview_fix(dataset.id, ["drop_duplicate_timestamps"])
    assert (preview["rows_removed"], preview["rows_added"], preview["cells_filled"]) == (1, 0, 0)
    assert store.preview_fix(dataset.id, ["interpolate_missing_cells"])["cells_filled"] == 1
    both = store.preview_fix(dataset.id, ["drop_duplicate_timestamps", "fill_missing_timestamps"])
    assert (both["rows_removed"], both["rows_added"], both["cells_emptied"]) == (1, 2, 0)
    assert [entry.id for entry in store.list()] == [dataset.id]


@pytest.mark.parametrize("encoding", ["windows-1252", "utf-16"])
def test_a_file_in_another_encoding_is_read_when_it_is_named(store, encoding):
    content = "time;Öl\n2024-01-01;1,5\n2024-01-02;2,5\n".encode(encoding)
    with pytest.raises(InvalidContent, match="encoding"):
        put(store, content)
    dataset = store.receive(io.BytesIO(content), "x.csv", hints=UploadHints(encoding=encoding))
    assert (dataset.facts["numeric"], dataset.table().values[:, 0].tolist()) == (["Öl"], [1.5, 2.5])
