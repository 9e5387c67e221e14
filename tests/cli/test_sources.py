"""Records are read as plants export them, and what cannot be read is named."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from cli.training.sources import FileSource, FolderSource, QuerySource, read_reports
from errors import DataFileInvalid, MillwrightError, NotFound, StorageFailed

WORKBOOK = Path(__file__).parent / "reports.xlsx"
HEADER = "anomaly_id,description,equipment_id,equipment_name,availability_score,fiability_score"


def _written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    os.utime(path, (1_700_000_000, 1_700_000_000))  # long ago: it is not growing any more
    return path


def test_a_csv_file_under_the_names_of_the_api(tmp_path: Path) -> None:
    path = _written(tmp_path / "new.csv", f'{HEADER}\nA1,"Fuite, à l\'échelle",P1,Pompe,3,2.5\n')
    (record,) = FileSource(path).records()
    assert record["description"] == "Fuite, à l'échelle"
    assert (record["availability_score"], record["fiability_score"]) == (3.0, 2.5)


def test_an_excel_export_with_semicolons_commas_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = _written(
        tmp_path / "new.csv", "anomaly_id;Description;Process Safety\nA1;Fuite, légère;3,5\n", "utf-8-sig"
    )
    assert read_reports(path) == [
        {"anomaly_id": "A1", "description": "Fuite, légère", "process_safety_score": 3.5}
    ]


@pytest.mark.parametrize("text", ["NaN", "inf", "trois", "1e999"])
def test_a_score_that_is_no_number_reaches_the_server_as_it_is(tmp_path: Path, text: str) -> None:
    path = _written(tmp_path / "new.csv", f"anomaly_id,availability_score\nA1,{text}\n")
    assert read_reports(path) == [{"anomaly_id": "A1", "availability_score": text}]


def test_an_empty_score_is_a_missing_score(tmp_path: Path) -> None:
    path = _written(tmp_path / "new.csv", "anomaly_id,availability_score\nA1,\n")
    assert read_reports(path)[0]["availability_score"] is None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"anomaly_id,description\nA1\n", "line 2"),
        ("a.csv", b"anomaly_id,description\nA1,b,c\n", "line 2"),
        ("a.csv", 'anomaly_id\n"été'.encode("cp1252"), "UTF-8"),
        ("a.csv", b'anomaly_id\n"never closed\n', "a.csv"),
        ("a.json", b"[1, 2]", "line 1 is not a JSON object"),
        ("a.parquet", b"PAR1", "a.parquet cannot be read as Parquet"),
        ("a.xlsx", b"PK\x03\x04", "a.xlsx: The file cannot be read as a workbook"),
        ("a.json", b"[", "a.json"),
        ("a.json", b'[{"anomaly_id": "A", "anomaly_id": "B"}]', '"anomaly_id" stands twice'),
        ("a.ndjson", b'{"anomaly_id": "A", "anomaly_id": "B"}', 'line 1 .*"anomaly_id" stands twice'),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataFileInvalid, match=said):
        read_reports(tmp_path / name)


def test_a_folder_is_read_in_order_and_other_files_are_left_alone(tmp_path: Path) -> None:
    _written(tmp_path / "b.csv", "anomaly_id\nB\n")
    _written(tmp_path / "a.json", json.dumps([{"anomaly_id": "A"}]))
    _written(tmp_path / "notes.txt", "no records")
    assert [r["anomaly_id"] for r in FolderSource(tmp_path).records()] == ["A", "B"]


def test_a_folder_notices_a_new_and_a_changed_file(tmp_path: Path) -> None:
    source = FolderSource(tmp_path)
    path = _written(tmp_path / "a.csv", "anomaly_id\nA\n")
    assert len(source.records()) == 1
    _written(tmp_path / "b.csv", "anomaly_id\nB\n")
    _written(path, "anomaly_id\nA\nA2\n")
    assert [r["anomaly_id"] for r in source.records()] == ["A", "A2", "B"]


@pytest.mark.parametrize("source", [FileSource(Path("nowhere.csv")), FolderSource(Path("nowhere"))])
def test_a_source_that_is_not_there(source: FileSource | FolderSource) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        source.records()


def test_a_query(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "plant.db")
    database.execute("CREATE TABLE reports (no INTEGER, text TEXT, score NUMERIC, seen TEXT)")
    database.execute("INSERT INTO reports VALUES (1, 'Fuite', 4, ?)", [datetime(2025, 1, 2).isoformat()])
    database.commit()
    sql = "SELECT 'A' || no AS anomaly_id, text AS description, score AS availability_score FROM reports"
    (record,) = QuerySource(f"sqlite:///{tmp_path / 'plant.db'}", sql).records()
    assert record == {"anomaly_id": "A1", "description": "Fuite", "availability_score": 4}


def test_a_missing_database_file_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no database file"):
        QuerySource(f"sqlite:///{tmp_path / 'missing.db'}", "SELECT 1").records()
    assert list(tmp_path.iterdir()) == []


def test_excel_and_parquet_give_the_records_of_a_csv_file(tmp_path: Path) -> None:
    rows = [
        {"anomaly_id": "A1", "Description": "Fuite, légère", "Process Safety": 3.5, "system": None},
        {"anomaly_id": "A2", "Description": "Bruit", "Process Safety": 2, "system": "Turbine"},
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "new.parquet")
    records = read_reports(tmp_path / "new.parquet")
    assert records == [
        {"anomaly_id": "A1", "description": "Fuite, légère", "process_safety_score": 3.5},
        {"anomaly_id": "A2", "description": "Bruit", "process_safety_score": 2, "system": "Turbine"},
    ]
    assert read_reports(WORKBOOK) == records


def test_numbers_that_name_something_are_texts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("anomaly_id,equipment_id\n007,12.0\n")
    assert read_reports(tmp_path / "a.csv") == [{"anomaly_id": "007", "equipment_id": "12.0"}]
    for cells in ([7, 12.0], [7.0, 12]):
        pd.DataFrame([cells], columns=["anomaly_id", "equipment_id"]).to_parquet(tmp_path / "a.parquet")
        assert read_reports(tmp_path / "a.parquet") == [{"anomaly_id": "7", "equipment_id": "12"}]


@pytest.mark.parametrize("url", ["sqlite://", "nonsense", "nosuch://x/y", "postgresql://x@127.0.0.1:1/y"])
def test_a_query_that_fails(url: str) -> None:
    with pytest.raises(MillwrightError) as raised:
        QuerySource(url, "SELECT * FROM nowhere").records()
    assert isinstance(raised.value, StorageFailed)
