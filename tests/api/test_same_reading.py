"""A table reads the same at every door, or is refused in a sentence that names the line."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path

import pandas as pd
import pytest
from flask.testing import FlaskClient

from cli.imports.record_files import read_numbered_records
from errors import DataFileInvalid, InvalidContent, MillwrightError
from prediction.records.fields import FieldError, is_empty, parse_number
from prediction.records.parsing import UnreadableLine
from prediction.scoring.requests.record_validation import REQUIRED, parse_reports
from storage.datasets.hints import UploadHints
from storage.datasets.recordings.recording_csv import read_recording_csv
from storage.datasets.tables.reading import read_table
from storage.datasets.tables.validation import validate_table
from storage.times import format_nanoseconds
from tests.api.conftest import open_app, settings_in

TIMES = [f"2024-01-01T{hour:02d}:00:00Z" for hour in range(4)]
VALUES = [1234.5, 2.25, -1000.75, 999.0]
Rows = list[float]
Door = Callable[[FlaskClient, bytes, Path], Rows]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    for app in open_app(settings_in(tmp_path_factory.mktemp("doors"))):
        yield app.test_client()


class Refused(Exception):
    """A door has refused a table."""


def post(client: FlaskClient, path: str, text: bytes, content_type: str = "text/csv") -> dict:
    answer = client.post(path, data=text, content_type=content_type)
    if not answer.status_code < 300:
        raise Refused(json.dumps(answer.get_json(), ensure_ascii=False))
    return answer.get_json()


def by_readings(client: FlaskClient, text: bytes, folder: Path) -> Rows:
    sensor = client.post("/api/sensors/", json={"name": "Flow", "type": "Flow"}).get_json()["id"]
    text = text.replace(b"flow", b"raw_value").replace(b"time", b"timestamp").replace(b"P7", b"%d" % sensor)
    post(client, "/api/readings/?detect=0", text.replace(b"device_id", b"sensor_id"))
    rows = client.get(f"/api/readings/?sensor_id={sensor}&limit=100").get_json()["results"]
    return [row["raw_value"] for row in sorted(rows, key=lambda row: row["timestamp"])]


def by_telemetry(client: FlaskClient, text: bytes, folder: Path) -> Rows:
    device = f"P-{folder.name}".encode()
    text = text.replace(b"time", b"timestamp").replace(b"P7", device)
    post(client, "/api/telemetry", text)
    rows = client.get(f"/api/telemetry?device_id={device.decode()}&limit=100").get_json()["results"]
    return [row["flow"] for row in sorted(rows, key=lambda row: row["timestamp"])]


def by_dataset(client: FlaskClient, text: bytes, folder: Path) -> Rows:
    (folder / "upload").write_bytes(text)
    table = read_table(folder / "upload", 1 << 20)
    return [float(value) for value in table.values[:, table.columns.index("flow")]]


def by_recording(client: FlaskClient, text: bytes, folder: Path) -> Rows:
    (segment,) = read_recording_csv(text.replace(b"device_id", b"label"), UploadHints()).segments
    return [float(value) for value in segment.waveform.samples[:, segment.waveform.channels.index("flow")]]


def by_command(client: FlaskClient, text: bytes, folder: Path) -> Rows:
    (folder / "data.csv").write_bytes(text)
    return flows_of(folder / "data.csv")


def by_workbook_body(client: FlaskClient, text: bytes, folder: Path) -> Rows:
    device = f"W-{folder.name}".encode()
    text = text.replace(b"time", b"timestamp").replace(b"P7", device)
    convert_to_workbook(text, folder / "data.xlsx")
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    post(client, "/api/telemetry", (folder / "data.xlsx").read_bytes(), kind)
    rows = client.get(f"/api/telemetry?device_id={device.decode()}&limit=100").get_json()["results"]
    return [row["flow"] for row in sorted(rows, key=lambda row: row["timestamp"])]


def flows_of(file: Path) -> Rows:
    rows = []
    for line, record in read_numbered_records(file):
        if isinstance(record, UnreadableLine):
            raise Refused(f"line {line} {record}")
        try:
            rows.append(parse_number("flow", record.get("flow")))
        except FieldError as error:
            raise Refused(f"line {line}: {error.message}") from error
    return rows


def by_workbook(client: FlaskClient, text: bytes, folder: Path) -> Rows:
    convert_to_workbook(text, folder / "data.xlsx")
    return flows_of(folder / "data.xlsx")


def convert_to_workbook(text: bytes, file: Path) -> None:
    """Write the cells of a CSV text as a workbook, as a spreadsheet does."""
    delimiter = max(",;\t", key=text.decode().count)
    cells = csv.reader(io.StringIO(text.decode("utf-8-sig"), newline=""), delimiter=delimiter)
    write_workbook(file, [list(row) for row in cells if row[:1] != ["sep="]])


def write_workbook(file: Path, *sheets: list[list[str | float]], hidden: int | None = None) -> None:
    """Write texts and numbers as the sheets a, b, … of a workbook; the one numbered ``hidden`` is not shown."""

    def to_xml(cell: str | float) -> str:
        if isinstance(cell, str):
            return f'<c t="inlineStr"><is><t>{escape(cell)}</t></is></c>'
        return f"<c><v>{cell}</v></c>"

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    packages = "http://schemas.openxmlformats.org/package/2006/relationships"
    names, targets = "", ""
    with zipfile.ZipFile(file, "w") as archive:
        for n, rows in enumerate(sheets):
            cells = "".join(
                f'<row r="{line}">' + "".join(map(to_xml, row)) + "</row>" for line, row in enumerate(rows, 1)
            )
            state = ' state="hidden"' if n == hidden else ""
            names += f'<sheet name="{chr(97 + n)}" sheetId="{n + 1}" r:id="r{n}"{state}/>'
            targets += (
                f'<Relationship Id="r{n}" Type="{relations}/worksheet" Target="worksheets/sheet{n}.xml"/>'
            )
            archive.writestr(
                f"xl/worksheets/sheet{n}.xml",
                f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>',
            )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>{names}</sheets></workbook>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{packages}"><Relationship Id="r1" '
            f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{packages}">{targets}</Relationships>'
        )


DOORS = {
    "readings": by_readings,
    "telemetry": by_telemetry,
    "dataset": by_dataset,
    "recording": by_recording,
    "command": by_command,
    "workbook": by_workbook,
    "workbook body": by_workbook_body,
}


def table(cells: list[str], delimiter: str = ",", names: str = "device_id,time,flow", tail: str = "") -> str:
    header = names.replace(",", delimiter)
    quoted = [f'"{cell}"' if delimiter in cell else cell for cell in cells]
    rows = [delimiter.join(("P7", time, cell)) for time, cell in zip(TIMES, quoted, strict=True)]
    return "\n".join([header, *(row + tail for row in rows)]) + "\n"


POINTS = ["1234.5", "2.25", "-1000.75", "999"]
COMMAS = [cell.replace(".", ",") for cell in POINTS]
SPELLINGS = {
    "plain": table(POINTS),
    "semicolons with decimal points": table(POINTS, ";"),
    "semicolons with decimal commas": table(COMMAS, ";"),
    "tabs with decimal commas": table(COMMAS, "\t"),
    "quoted decimal commas": table(COMMAS),
    "English thousands": table(["1,234.5", "2.25", "-1,000.75", "999"]),
    "German thousands": table(["1.234,5", "2,25", "-1.000,75", "999"], ";"),
    "French thousands": table(["1\u202f234,5", "2,25", "-1 000,75", "999"], ";"),
    "Swiss thousands": table(["1'234.5", "2.25", "-1’000.75", "999"]),
    "a typographic minus": table([cell.replace("-", "\u2212") for cell in POINTS]),
    "an invisible character behind a name": table(POINTS, names="device_id,time,flow\u200b"),
    "a preamble": "Logger 7\nserial no. 5, made in Ulm\n\n" + table(POINTS),
    "a preamble of two cells": "Logger,7\n" + table(POINTS),
    "a row of units": table(POINTS).replace("flow\n", "flow\n,,m³/h\n"),
    "two rows of units": table(POINTS).replace("flow\n", "flow\n,TS,m3/h\n,,Avg\n"),
    "a stated separator": "sep=;\n" + table(COMMAS, ";"),
    "trailing delimiters": table(POINTS, names="device_id,time,flow,", tail=","),
    "trailing delimiters of rows only": table(POINTS, tail=","),
    "empty columns": table(POINTS, names="device_id,time,flow,,", tail=",,"),
    "blank rows": table(POINTS).replace("\nP7", "\n,,\nP7", 2) + ",,\n ,,\n\n",
    "a byte order mark and CRLF": "\ufeff" + table(POINTS).replace("\n", "\r\n"),
    "bare carriage returns": table(POINTS).replace("\n", "\r"),
    "bare carriage returns below a preamble": "Logger 7\r\r" + table(POINTS).replace("\n", "\r"),
    "an index without a name": ",".join(("", table(POINTS).partition("\n")[0])) + "\n"
    + "".join(f"{n},{row}\n" for n, row in enumerate(table(POINTS).splitlines()[1:])),
    "an index that pandas has named": ",".join(("Unnamed: 0", table(POINTS).partition("\n")[0])) + "\n"
    + "".join(f"{n},{row}\n" for n, row in enumerate(table(POINTS).splitlines()[1:])),
}  # fmt: skip


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_a_table_reads_the_same_at_every_door(
    client: FlaskClient, tmp_path: Path, door: Door, text: str
) -> None:
    assert door(client, text.encode(), tmp_path) == VALUES


REFUSED = {
    "thousands or decimals": (table(["1,234", "2,345", "3,456", "4,567"]), "'1,234' may be 1234 or 1.234"),
    "a name that stands twice": (table(POINTS, names="device_id,time,time"), "'time"),
    "a column without a name": (table(POINTS, names="device_id,time,"), "name"),
    "a column that pandas has named": (table(POINTS, names="device_id,time,flow,Unnamed: 3", tail=",9"), "name"),
    "values in place of names": (table(POINTS).partition("\n")[2], "first line holds values|is no number"),
    "a quote that nothing closes": (table(["1234.5", '"2.25', "3", "4"]), "quote|read near|finite number|no number"),
    "another delimiter": (table(POINTS, "|"), r"\||got nothing"),
    "a row that is too short": (table(POINTS).replace(",999", ""), "line 5|record.: 5|row 5"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_what_may_mean_two_things_is_refused_at_every_door(
    client: FlaskClient, tmp_path: Path, door: Door, text: str, reason: str
) -> None:
    with pytest.raises((Refused, MillwrightError), match=reason):
        door(client, text.encode(), tmp_path)


@pytest.mark.parametrize("word", ["", "NaN", "nan", "N/A", "NULL", "null", "None", "-", "#N/A"])
def test_words_for_no_value_are_no_values(word: str) -> None:
    assert is_empty(word)


def telemetry_times(client: FlaskClient, device: str) -> list[str]:
    rows = client.get(f"/api/telemetry?device_id={device}&limit=100").get_json()["results"]
    return sorted(row["timestamp"] for row in rows)


@pytest.mark.parametrize(
    ("dates", "delimiter", "query", "days"),
    [
        (["12/04/2024", "13/04/2024 10:30"], ",", "", ["2024-04-12T00:00", "2024-04-13T10:30"]),
        (["04/12/2024", "4/13/2024 1:30 PM"], ",", "", ["2024-04-12T00:00", "2024-04-13T13:30"]),
        (["03/04/2024"], ",", "?date_order=day", ["2024-04-03T00:00"]),
        (["03/04/2024"], ",", "?date_order=month", ["2024-03-04T00:00"]),
        (["03/04/2024"], ";", "", ["2024-04-03T00:00"]),
        (["03.04.2024 07:00"], ",", "", ["2024-04-03T07:00"]),
    ],
)
def test_dates_of_a_table_are_read_in_the_order_that_it_shows(
    client: FlaskClient, tmp_path: Path, dates: list[str], delimiter: str, query: str, days: list[str]
) -> None:
    device = f"D-{tmp_path.name}"
    lines = ["device_id,timestamp,flow", *(f"{device},{date},1" for date in dates)]
    post(client, f"/api/telemetry{query}", "\n".join(lines).replace(",", delimiter).encode())
    assert [time[:16] for time in telemetry_times(client, device)] == days


SPELT_TIMES = {
    "2024-03-14 10:00:00 UTC": "2024-03-14T10:00:00",
    "2024-03-14T10:00:00+02": "2024-03-14T08:00:00",
    "2024-03-14 10:00:00 +0200": "2024-03-14T08:00:00",
    "2024-03-14 10:00:00,250001": "2024-03-14T10:00:00.250001",
    "20240314T100000": "2024-03-14T10:00:00",
    "14-Mar-24 10:00:00": "2024-03-14T10:00:00",
    "14 Mar 2024 10:00": "2024-03-14T10:00:00",
    "14-03-2024 10:00": "2024-03-14T10:00:00",
    "03-14-2024 10:00": "2024-03-14T10:00:00",
    "14 Mar 24": "2024-03-14T00:00:00",
    "14 March 2024 10:00": "2024-03-14T10:00:00",
    "2024-03-14t10:00:00z": "2024-03-14T10:00:00",
    "2024-03-14 10:00 utc": "2024-03-14T10:00:00",
    "2024-03-14 1000": "2024-03-14T10:00:00",
    "2024-03-14T10": "2024-03-14T10:00:00",
    "20240314T100000Z": "2024-03-14T10:00:00",
    "20240314T1000+0200": "2024-03-14T08:00:00",
    "20240314T100000,250001": "2024-03-14T10:00:00.250001",
    "2024.03.14": "2024-03-14T00:00:00",
    "2024.03.14 10:00": "2024-03-14T10:00:00",
    "14.03.2024T10:00": "2024-03-14T10:00:00",
    "13.03.2024 24:00": "2024-03-14T00:00:00",
    "2024-03-13 24:00:00": "2024-03-14T00:00:00",
    "2024-03-13T24:00Z": "2024-03-14T00:00:00",
    "14.03.2024 10:00 UTC": "2024-03-14T10:00:00",
    "14.03.2024 10:00:00.250001": "2024-03-14T10:00:00.250001",
    "3/14/2024 2:30:00.500001 PM": "2024-03-14T14:30:00.500001",
}


@pytest.mark.parametrize(("text", "time"), SPELT_TIMES.items())
def test_a_time_reads_the_same_at_every_door(
    client: FlaskClient, tmp_path: Path, text: str, time: str
) -> None:
    device = f"T-{tmp_path.name}"
    post(client, "/api/telemetry", f"device_id;timestamp;flow\n{device};{text};1\n".encode())
    (tmp_path / "upload").write_text(f"device_id;time;flow\nP7;{text};1\n")
    (read,) = read_table(tmp_path / "upload", 1 << 20).times
    assert telemetry_times(client, device) == [f"{time}Z"]
    assert format_nanoseconds(read) == f"{time}Z"
    scored = f"A-1;leak;P;P;1;2;3;{text}"
    names = ";".join((*REQUIRED, "detected_at"))
    assert post(client, "/train?dry_run=1", f"{names}\n{scored}\n".encode())["records_new"] == 1


@pytest.mark.parametrize(
    "text",
    ["2024-W10", "2024-03-01+02:00", "2024-03-01-05:00", "1912070800000", "2024-03-01x10:00", "2024-03"],
)
def test_what_only_begins_like_a_time_is_none(client: FlaskClient, text: str) -> None:
    with pytest.raises(
        Refused, match=f"timestamp must be a date and time such as 2024-12-05T14:30:22Z, got '{text[:7]}"
    ):
        post(client, "/api/telemetry", f"device_id,timestamp,flow\nP7,{text},1\n".encode())


def test_a_time_of_a_body_is_read_by_the_same_rule(client: FlaskClient) -> None:
    sensor = client.post("/api/sensors/", json={"name": "Flow", "type": "Flow"}).get_json()["id"]
    body = {"sensor_id": sensor, "method": "linear", "corrected_value": 1}
    for text in ("2024-W10", "2024-03-01+02:00"):
        assert client.post("/api/calibrations/", json={**body, "applied_at": text}).status_code == 422
    answer = client.post("/api/calibrations/", json={**body, "applied_at": "2024-03-01 10:00:00 UTC"})
    assert answer.get_json()["applied_at"] == "2024-03-01T10:00:00Z"


def test_a_table_without_clear_times_says_so(tmp_path: Path) -> None:
    def findings(text: str) -> dict[str, str]:
        (tmp_path / "upload").write_text(text)
        return {f.code: f.message for f in validate_table(read_table(tmp_path / "upload", 1 << 20))}

    dashes = findings("time,flow\n01-03-2024,1\n02-03-2024,2\n03-03-2024,3\n")
    assert "01-03-2024 are read with the day first" in dashes["assumed_date_order"]
    quarters = findings("time,flow\n2024-Q1,1\n2024-Q2,2\n")
    assert quarters["no_time_column"].startswith("'time' does not read as times (2024-Q1)")
    years = findings("year,flow,time\n1,1,1949\n1,2,1950\n")
    assert years["no_time_column"].startswith("'time' does not read as times (1949)")


def test_dates_that_name_devices_are_no_times(tmp_path: Path) -> None:
    rows = "".join(f"2024-01-05,{time},{value}\n" for time, value in zip(TIMES, POINTS, strict=True))
    (tmp_path / "upload").write_text(f"device_id,time,flow\n{rows}")
    assert read_table(tmp_path / "upload", 1 << 20).time_column == "time"


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("NaN", "device_id is missing"),
        ("1.23457E+12", "device_id 1.23457E+12 is a number that a spreadsheet has shortened"),
        ("P\x1b[31m7", "device_id must not contain control characters"),
    ],
)
def test_a_cell_that_names_nothing_names_no_device(client: FlaskClient, device: str, reason: str) -> None:
    for path in ("/api/telemetry", "/api/failure-events"):
        with pytest.raises(Refused, match=re.escape(reason)):
            post(client, path, f"device_id,timestamp,flow\n{device},2024-01-01,1\n".encode())


def test_numbers_of_workbooks_name_sensors_and_devices(client: FlaskClient, tmp_path: Path) -> None:
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    sensor = client.post("/api/sensors/", json={"name": "Flow", "type": "Flow"}).get_json()["id"]
    rows: list[list[str | float]] = [["sensor_id", "raw_value", "timestamp"], [float(sensor), 1.5, TIMES[0]]]
    write_workbook(tmp_path / "a.xlsx", rows)
    answer = post(client, "/api/readings/?detect=0", (tmp_path / "a.xlsx").read_bytes(), kind)
    assert (answer["accepted"], answer["reading"]["raw_value"]) == (1, 1.5)
    rows = [["device_id", "flow", "timestamp"], ["0071", 2, TIMES[0]], [121.0, 3, TIMES[0]]]
    write_workbook(tmp_path / "a.xlsx", rows)
    post(client, "/api/telemetry", (tmp_path / "a.xlsx").read_bytes(), kind)
    assert [telemetry_times(client, device) for device in ("0071", "121")] == [[TIMES[0]]] * 2
    with pytest.raises(Refused, match="cannot be read as a workbook"):
        post(client, "/api/telemetry", (tmp_path / "a.xlsx").read_bytes()[:-200], kind)


@pytest.mark.parametrize("door", ["body", "file"])
def test_the_sheet_of_a_workbook_is_not_guessed(client: FlaskClient, tmp_path: Path, door: str) -> None:
    table: list[list[str | float]] = [["device_id", "timestamp", "flow"], [f"S-{door}", TIMES[0], 1.5]]
    other: list[list[str | float]] = [["", ""], ["limits", 3]]
    blank: list[list[str | float]] = [["", " "]]
    file = tmp_path / "a.xlsx"

    def read() -> Rows:
        if door == "file":
            return flows_of(file)
        post(
            client,
            "/api/telemetry",
            file.read_bytes(),
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        )
        rows = client.get(f"/api/telemetry?device_id=S-{door}&limit=100").get_json()["results"]
        return [row["flow"] for row in rows]

    write_workbook(file, table, blank, other)
    with pytest.raises((Refused, DataFileInvalid), match=r"data in several sheets .'a', 'c'.: name one"):
        read()
    for sheets, hidden in (([table], None), ([blank, table], None), ([other, table], 0)):
        write_workbook(file, *sheets, hidden=hidden)
        assert set(read()) == {1.5}
    for sheets in ([blank], [blank, other]):
        write_workbook(file, *sheets, hidden=1)
        with pytest.raises((Refused, DataFileInvalid), match="workbook is empty, or hides its sheets"):
            read()


def test_the_row_index_of_a_pandas_table_is_no_data(client: FlaskClient, tmp_path: Path) -> None:
    frame = pd.DataFrame({"device_id": "P7", "timestamp": TIMES, "flow": VALUES}).drop(index=1)
    frame.to_parquet(tmp_path / "a.parquet")
    reason = "'__index_level_0__' is the row index of a pandas table"
    with pytest.raises(Refused, match=reason):
        post(
            client, "/api/telemetry", (tmp_path / "a.parquet").read_bytes(), "application/vnd.apache.parquet"
        )
    with pytest.raises(DataFileInvalid, match=f"a.parquet: The column {reason}"):
        flows_of(tmp_path / "a.parquet")
    with pytest.raises(InvalidContent, match=reason):
        read_table(tmp_path / "a.parquet", 1 << 20)
    frame.rename(columns={"flow": "Unnamed: 0"}).to_parquet(tmp_path / "b.parquet", index=False)
    unnamed = "without one: column 3"
    for read in (flows_of, lambda file: read_table(file, 1 << 20)):
        with pytest.raises((DataFileInvalid, InvalidContent), match=unnamed):
            read(tmp_path / "b.parquet")
    with pytest.raises(Refused, match=unnamed):
        post(
            client, "/api/telemetry", (tmp_path / "b.parquet").read_bytes(), "application/vnd.apache.parquet"
        )
    row = {"device_id": "P7", "timestamp": TIMES[0], "Unnamed: 0": 7, "flow": 1}
    with pytest.raises(Refused, match="'Unnamed: 0' is a column without a name of its own"):
        post(client, "/api/telemetry", json.dumps([row, row]).encode(), "application/json")
    # An index of times is data.
    frame.set_index(pd.to_datetime(frame.pop("timestamp")).rename(None)).to_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", 1 << 20).times is not None


def test_names_have_no_control_characters_and_no_invisible_ends(client: FlaskClient) -> None:
    for changes in ({"name": "P\x1b[31m7"}, {"type": "a\nb"}, {"tag": "\u00a0TI-1"}):
        answer = client.post("/api/sensors/", json={"name": "Flow", "type": "Flow", **changes})
        assert answer.status_code == 422, changes
    for tag, reason in (
        ("NaN", "it stands for an empty cell"),
        ("1.23457E+12", "a spreadsheet has shortened it"),
    ):
        with pytest.raises(Refused, match=f"there is no sensor with the tag '{re.escape(tag)}'; {reason}"):
            post(
                client,
                "/api/readings/?on_unknown=create",
                f"tag,raw_value,timestamp\n{tag},1,2024-01-01\n".encode(),
            )


@pytest.mark.parametrize(
    ("anomaly", "reason"),
    [("NaN", "stands for an empty cell"), ("A\x1b[1m", "control"), ("A\x85", "control")],
)
def test_an_id_that_names_nothing_corrects_no_report(client: FlaskClient, anomaly: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        post(client, "/train?dry_run=1", f"{','.join(REQUIRED)}\n{anomaly},leak,P,P,1,2,3\n".encode())


def test_the_id_of_a_prediction_names_nothing_and_comes_back() -> None:
    (record,) = parse_reports({"description": "leak", "anomaly_id": "NaN"}).records
    assert record["anomaly_id"] == "NaN"


def test_nul_characters_are_refused_by_commands_too(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(table(POINTS).replace("2.25", "2.\x0025"))
    with pytest.raises(DataFileInvalid, match="line 3 holds NUL characters"):
        list(read_numbered_records(tmp_path / "data.csv"))


def test_a_broken_row_is_named_by_its_line_in_the_file(tmp_path: Path) -> None:
    text = "Logger 7\n\n" + table(POINTS).replace("\nP7", "\n\nP7") + "\nEnd of file\n"
    (tmp_path / "upload").write_text(text)
    with pytest.raises(InvalidContent, match="line 13 has 1 cells"):
        read_table(tmp_path / "upload", 1 << 20)


@pytest.mark.parametrize("path", ["/api/telemetry", "/api/readings/", "/api/failure-events", "/train"])
def test_a_date_that_may_be_two_days_is_asked_about(client: FlaskClient, path: str) -> None:
    names = "device_id,sensor_id,timestamp,raw_value,anomaly_id,description,equipment_id,equipment_name,detected_at"
    scores = "availability_score,fiability_score,process_safety_score"
    text = f"{names},{scores}\nD-1,1,03/04/2024,1,A-1,leak,P,P,03/04/2024,1,1,1\n"
    with pytest.raises(Refused, match="03/04/2024' may be two days: send date_order=day or date_order=month"):
        post(client, path, text.encode())


def test_a_text_is_read_in_the_encoding_that_its_content_type_names(client: FlaskClient) -> None:
    text = "device_id,timestamp,débit\nGerät 7,2024-01-01T00:00:00Z,1\n"
    for charset in ("windows-1252", "ISO-8859-1", "utf-16", "UTF8"):
        post(client, "/api/telemetry", text.encode(charset), f"text/csv; charset={charset}")
    rows = client.get("/api/telemetry?device_id=Gerät 7").get_json()["results"]
    assert [row["débit"] for row in rows] == [1.0] * 4
    with pytest.raises(Refused, match="charset=ebcdic is not read"):
        post(client, "/api/telemetry", text.encode(), "text/csv; charset=ebcdic")
    with pytest.raises(Refused, match="is not UTF-8"):
        post(client, "/api/telemetry", text.encode("windows-1252"))
    part = (
        io.BytesIO(b"time,d\xe9bit\n" + b"2024-01-01,1\n" * 3),
        "data.csv",
        "text/csv; charset=windows-1252",
    )
    answer = client.post("/datasets", data={"file": part}, content_type="multipart/form-data")
    assert answer.get_json()["columns"] == ["débit"]


def test_what_was_left_out_of_a_text_is_told(client: FlaskClient) -> None:
    text = "Logger 7\n" + table(POINTS, names="device_id,timestamp,flow,", tail=",") + ",,,\n"
    warnings = post(client, "/api/telemetry", text.encode())["warnings"]
    assert warnings == [
        "1 line is left out above the column names",
        "1 column is left out, without a name and cells",
        "1 blank row is left out",
    ]
