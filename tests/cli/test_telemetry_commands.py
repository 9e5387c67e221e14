"""Telemetry from files: tables, C-MAPSS texts, and the folders of Lookout for Equipment."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from settings import Settings
from storage.container import open_storage
from storage.devices.failures import Failures
from storage.devices.telemetry import Telemetry
from storage.sensors.readings import from_microseconds, to_microseconds
from tests.cli.runner import run_json


def run_import(home: Path, arguments: str, code: int = 0) -> Any:
    return run_json("import", "telemetry", *arguments.split(), home=home, code=code)


@pytest.fixture
def database(tmp_path):
    made = open_storage(Settings(home=tmp_path)).database
    made.migrate()
    yield made
    made.close()


def engines(lives: list[int]) -> str:
    lines = [
        " ".join(map(str, [unit, cycle, 0.1, 0.2, 100, *range(21), ""]))
        for unit, life in enumerate(lives, 1)
        for cycle in range(1, life + 1)
    ]
    return "\n".join(lines) + "\n"


def test_cmapss_cycles_are_hours_and_the_last_one_is_the_failure(tmp_path: Path, database) -> None:
    folder = tmp_path / "cmapss"
    folder.mkdir()
    with gzip.open(folder / "train_FD001.txt.gz", "wt") as file:
        file.write(engines([30, 20]))
    answer = run_import(tmp_path, f"--format cmapss {folder} --tenant plant-7")
    assert (answer["devices"], answer["rows"], answer["failures"]) == (2, 50, 2)
    first, second = Telemetry(database).stream("plant-7")
    assert (first.device_id, len(first), len(second)) == ("FD001-001", 30, 20)
    assert set(np.diff(first.times)) == {3_600_000_000}
    assert "sensor_21" in first.channels and "setting_3" in first.channels
    assert Failures(database).run_ends("plant-7")["FD001-002"] == [(second.times[-1], True)]
    answer = run_import(tmp_path, f"--format cmapss {folder} --tenant plant-7", code=3)
    assert (answer["skipped_devices"], answer["rows"]) == (2, 0)


def test_test_files_hold_engines_that_still_run(tmp_path: Path, database) -> None:
    file = tmp_path / "test_FD003.txt"
    file.write_text(engines([12]))
    assert run_import(tmp_path, f"--format cmapss {file}")["failures"] == 0


def test_engines_of_test_files_are_not_taken_for_those_of_training_files(tmp_path: Path, database) -> None:
    for kind, life in (("train", 30), ("test", 12)):
        file = tmp_path / f"{kind}_FD003.txt"
        file.write_text(engines([life]))
        assert run_import(tmp_path, f"--format cmapss {file}")["rows"] == life
    assert Telemetry(database).devices("default") == ["FD003-001", "FD003-test-001"]


def test_lookout_folders_become_devices_and_the_ends_of_labels_failures(tmp_path: Path, database) -> None:
    for asset in ("pump-1", "pump-2"):
        folder = tmp_path / "data" / asset
        (folder / "motor").mkdir(parents=True)
        (folder / "a.csv").write_text("Timestamp,flow,temp\n2020/1/1 0:00,2,12\n2020/1/1 0:05,3,\n")
        (folder / "motor" / "b.csv").write_text("Timestamp,temp\n2020-01-01T00:05:00,70\n1577836800,60\n")
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "pump-2.csv").write_text("1/1/2020 0:00,1/3/2020 0:00\n")
    answer = run_import(tmp_path, f"--format lookout {tmp_path / 'data'} --failures {labels}")
    assert (answer["devices"], answer["rows"], answer["failures"]) == (2, 4, 1)
    first, _ = Telemetry(database).stream("default")
    assert first.channels == ("b.temp", "flow", "temp")
    np.testing.assert_array_equal(first.values, [[60, 2, 12], [70, 3, np.nan]])
    end = to_microseconds(datetime(2020, 1, 3, tzinfo=UTC))
    assert Failures(database).run_ends("default") == {"pump-2": [(end, True)]}


def test_tables_are_checked_line_by_line(tmp_path: Path, database) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("device_id;timestamp;oil\nP-1;2026-01-05T00:00:00Z;4,5\nP-1;2026-01-05T01:00:00Z;high\n")
    answer = run_import(tmp_path, f"{table}", code=6)
    assert (answer["errors"][0]["record"]) == (3)
    table.write_text("device_id;timestamp;oil\nP-1;2026-01-05T00:00:00Z;4,5\n")
    failures = tmp_path / "failures.csv"
    failures.write_text("device_id,event_time\nP-1,2026-01-06T00:00:00Z\n")
    answer = run_import(tmp_path, f"--format csv {table} --failures {failures}")
    assert (answer["rows"], answer["failures"]) == (1, 1)


def test_nothing_is_stored_where_a_later_line_is_wrong(
    tmp_path: Path, database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.imports.telemetry_files._BATCH_SIZE", 2)
    rows = "".join(f"P-1,2026-01-05T0{hour}:00:00Z,{hour}\n" for hour in range(5))
    (tmp_path / "a.csv").write_text(f"device_id,timestamp,oil\n{rows}")
    (tmp_path / "b.csv").write_text("device_id,timestamp,oil\nP-1,2026-01-06T00:00:00Z,high\n")
    run_import(tmp_path, f"{tmp_path}", code=6)
    assert Telemetry(database).devices("default") == []
    (tmp_path / "b.csv").unlink()
    assert run_import(tmp_path, f"{tmp_path}")["rows"] == 5


def test_wrong_files_are_refused_with_the_line(tmp_path: Path, database) -> None:
    wrong = tmp_path / "train_X.txt"
    wrong.write_text("1 1 0.1\n")
    answer = run_import(tmp_path, f"--format cmapss {wrong}", code=6)
    assert "line 1" in answer["error"]


@pytest.mark.parametrize("cell", ["nan", "inf", "1e300", "x"])
@pytest.mark.parametrize("column", [0, 1, 7])
def test_a_line_of_cmapss_with_no_number_is_named(tmp_path: Path, database, cell, column) -> None:
    lines = [line.split() for line in engines([5]).splitlines()]
    lines[2][column] = cell
    wrong = tmp_path / "train_X.txt"
    wrong.write_text("\n".join(" ".join(line) for line in lines))
    answer = run_import(tmp_path, f"--format cmapss {wrong}", code=6)
    assert "line 3" in answer["error"]


@pytest.mark.parametrize("name", ["cmapss/train_X.txt", "cmapss/train_X.txt.gz", "lookout/a.csv"])
def test_a_file_that_is_no_text_is_told(tmp_path: Path, database, name) -> None:
    file = tmp_path / name
    file.parent.mkdir()
    file.write_bytes(b"Zeit,temp\xe9rature\n1 1 0 0 100 5\n")
    answer = run_import(tmp_path, f"--format {file.parent.name} {file}", code=6)
    assert file.name in answer["error"]


def test_cycles_in_any_order_end_with_the_last_one(tmp_path: Path, database) -> None:
    file = tmp_path / "train_X.txt"
    file.write_text("\n".join(reversed(engines([30]).splitlines())))
    run_import(tmp_path, f"--format cmapss {file}")
    ((_, ends),) = Failures(database).run_ends("default").items()
    assert [from_microseconds(end).hour for end, _ in ends] == [29 % 24]


def test_wrong_failures_and_tenants_are_refused_before_a_row_is_written(tmp_path: Path, database) -> None:
    rows, failures = tmp_path / "rows.csv", tmp_path / "failures.csv"
    rows.write_text("device_id,timestamp,a\nP-1,2026-01-01T00:00:00Z,1\n")
    failures.write_text("device_id,when\nP-1,2026-01-01T00:00:00Z\n")
    run_import(tmp_path, f"{rows} --failures {failures}", code=6)
    run_import(tmp_path, f"{rows} --tenant ../other", code=6)
    assert list(Telemetry(database).stream("default")) == list(Telemetry(database).stream("../other")) == []


def test_lookout_files_may_say_nan_and_a_wrong_number_is_named(tmp_path: Path, database) -> None:
    folder = tmp_path / "pump-7"
    folder.mkdir()
    file = folder / "a.csv"
    file.write_text("Timestamp,s1,s2\n2020-01-01 00:00:00,nan,2\n2020-01-01 00:05:00,NaN,\n")
    answer = run_import(tmp_path, f"--format lookout {folder}")
    assert (answer["rows"]) == (1)
    for wrong in ("inf", "1e300", "on"):
        file.write_text(f"Timestamp,s1,s2\n2021-01-01 00:00:00,{wrong},2\n")
        answer = run_import(tmp_path, f"--format lookout {folder}", code=6)
        assert "line 2" in answer["error"]


def test_features_are_kept_and_only_new_ones_computed(tmp_path: Path, database) -> None:
    file = tmp_path / "train_FD001.txt"
    file.write_text(engines([60, 40]))
    run_import(tmp_path, f"--format cmapss {file}")
    command = ("features", "--window", 20, "--stride", 10)
    answer = run_json(*command, home=tmp_path)
    assert (answer["devices"], answer["windows"], answer["computed"]) == (2, 8, 8)
    assert len(list(Path(answer["folder"]).glob("*.parquet"))) == 2
    answer = run_json(*command, home=tmp_path, code=3)
    assert (answer["windows"], answer["computed"]) == (8, 0)
    assert run_json(*command, "--bucket-hours", 24, home=tmp_path)["windows"] == 5
    run_json(*command, "--tenant", "../other", home=tmp_path, code=6)


def test_channels_that_report_in_turn_have_features_of_what_was_known(tmp_path: Path, database) -> None:
    lines = [
        f"P-1,2026-01-01T{hour:02d}:00:00Z,{hour if hour % 2 else ''},{'' if hour % 2 else hour}"
        for hour in range(10)
    ]
    lines += ["P-2,2026-01-01T00:00:00Z,1,2"]
    table = tmp_path / "rows.csv"
    table.write_text("\n".join(["device_id,timestamp,a,b", *lines]))
    run_import(tmp_path, f"--format csv {table}")
    answer = run_json("features", "--window", 4, "--stride", 2, home=tmp_path)
    assert (answer["devices"], answer["windows"]) == (2, 4)
    (file,) = Path(answer["folder"]).glob("*.parquet")
    table = pq.read_table(file)
    assert table["a.max"].to_pylist()[1:] == [5, 7, 9]
    assert table["b.max"].to_pylist() == [2, 4, 6, 8]
