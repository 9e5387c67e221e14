"""Of a workbook with several sheets, the one that is meant is read, or the sheets are named."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cli.imports.record_files import read_numbered_records
from errors import DataFileInvalid
from storage.datasets.workbook import read_workbook_in_child
from tests.api.test_dataset_routes import upload
from tests.api.test_same_reading import write_workbook

KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
TIMES = [f"2024-01-01T{hour:02d}:00:00Z" for hour in range(3)]


def table(value: float) -> list[list[str | float]]:
    rows: list[list[str | float]] = [["P7", time, value] for time in TIMES]
    return [["device_id", "timestamp", "flow"], *rows]


NOTES: list[list[str | float]] = [["made", "by"], ["hand", "2024"]]


def send_telemetry(client: FlaskClient, file: Path, sheet: str | None) -> list[float]:
    query = {} if sheet is None else {"sheet": sheet}
    answer = client.post("/api/telemetry", query_string=query, data=file.read_bytes(), content_type=KIND)
    if answer.status_code >= 300:
        raise DataFileInvalid(answer.get_json()["error"])
    rows = client.get("/api/telemetry?device_id=P7").get_json()["results"]
    return [row["flow"] for row in rows]


def send_data_set(client: FlaskClient, file: Path, sheet: str | None) -> list[float]:
    form = {"file": (io.BytesIO(file.read_bytes()), file.name)} | ({} if sheet is None else {"sheet": sheet})
    answer = client.post("/datasets", data=form)
    if answer.status_code >= 300:
        raise DataFileInvalid(answer.get_json()["error"])
    assert answer.get_json()["time_column"] == "timestamp"
    rows = client.get(f"/datasets/{answer.get_json()['id']}/preview").get_json()["rows"]
    return [row["flow"] for row in rows]


def run_command(client: FlaskClient, file: Path, sheet: str | None) -> list[float]:
    return [record["flow"] for _, record in read_numbered_records(file, sheet=sheet)]


Door = Callable[[FlaskClient, Path, "str | None"], list[float]]
DOORS = [send_telemetry, send_data_set, run_command]


@pytest.mark.parametrize("door", DOORS)
def test_several_sheets_with_data_are_named_and_one_is_chosen(
    client: FlaskClient, tmp_path: Path, door: Door
) -> None:
    file = tmp_path / "a.xlsx"
    write_workbook(file, NOTES, table(2))
    with pytest.raises(DataFileInvalid, match=r"data in several sheets \('a', 'b'\): name one with"):
        door(client, file, None)
    with pytest.raises(DataFileInvalid, match="has no sheet 'c', it has: 'a', 'b'"):
        door(client, file, "c")
    write_workbook(file, NOTES, table(2), hidden=1)
    assert door(client, file, "b") == [2, 2, 2]


@pytest.mark.parametrize("door", DOORS)
def test_the_only_sheet_with_data_is_read_wherever_it_stands(
    client: FlaskClient, tmp_path: Path, door: Door
) -> None:
    file = tmp_path / "a.xlsx"
    write_workbook(file, [], [["", " "]], table(3))
    assert door(client, file, None) == [3, 3, 3]


@pytest.mark.parametrize("door", DOORS)
def test_an_empty_workbook_is_called_a_workbook(client: FlaskClient, tmp_path: Path, door: Door) -> None:
    file = tmp_path / "a.xlsx"
    write_workbook(file, [], [["", ""]])
    with pytest.raises(
        DataFileInvalid, match="The workbook is empty, or hides its sheets: a row of column names"
    ):
        door(client, file, None)
    with pytest.raises(DataFileInvalid, match="The sheet 'b' is empty"):
        door(client, file, "b")


def test_a_sheet_of_what_is_no_workbook_is_refused(client: FlaskClient, tmp_path: Path) -> None:
    text = "device_id,timestamp,flow\nP7,2024-01-01,1\n"
    (tmp_path / "a.csv").write_text(text)
    answer = client.post("/api/telemetry?sheet=a", data=text, content_type="text/csv")
    assert answer.status_code == 422 and "leave it out" in answer.get_json()["error"]
    assert upload(client, text).status_code == 201
    with pytest.raises(DataFileInvalid, match="the file is none: leave it out"):
        send_data_set(client, tmp_path / "a.csv", "a")
    with pytest.raises(DataFileInvalid, match="no workbook: leave --sheet out"):
        run_command(client, tmp_path / "a.csv", "a")


def test_numbers_and_times_of_a_sheet_are_written_as_in_other_tables(tmp_path: Path) -> None:
    write_workbook(tmp_path / "a.xlsx", [["n", "x"], [7.0, 0.1]], [["n"], [1.0]])
    assert read_workbook_in_child((tmp_path / "a.xlsx").read_bytes(), "a") == b"n,x\n7,0.1\n"
