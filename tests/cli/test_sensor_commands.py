"""The commands for sensors, on the demo plant, as the old platform's users type them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from cli.training.batch_progress import report_lacking, report_results
from demo.sensors import install_demo_sensors
from prediction.sensors.monitoring import RetrainPlan
from settings import Settings
from storage.container import open_storage
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
from tests.cli.runner import run_json, run_process

TRAINED = {"name": "1-drift", "state": "completed"}
LACKING = {"name": "1-calibration", "state": "failed", "code": "not_enough_data", "error": "too little"}
BROKEN = {"name": "1-anomaly", "state": "failed", "code": "training_failed", "error": "broken"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with the seven demo sensors."""
    folder = tmp_path_factory.mktemp("plant")
    storage = open_storage(Settings(home=folder))
    storage.database.migrate()
    assert install_demo_sensors(storage.database)
    assert not install_demo_sensors(storage.database)
    storage.database.close()
    return folder


def test_the_demo_plant_has_the_old_ids_and_calibrations_only_for_13(home: Path) -> None:
    database = open_storage(Settings(home=home)).database
    assert Sensors(database).list_ids("default") == [13, 14, 15, 17, 18, 19, 20]
    assert {row["status"] for row in Sensors(database).page("default")[0]} == {"online"}
    assert Readings(database).count("default") == 7 * 30 * 96
    assert [len(Calibrations(database).list_manual(sensor)) for sensor in (13, 14)] == [10, 0]


def test_one_model_of_one_sensor(home: Path) -> None:
    result = run_json("train", "sensors", "--sensor-id", 13, "--model-type", "anomaly", home=home)
    assert [(item["name"], item["state"]) for item in result["items"]] == [("13-anomaly", "completed")]


def test_a_sensor_is_named_by_its_tag(home: Path) -> None:
    database = open_storage(Settings(home=home)).database
    (number,) = Sensors(database).create("default", [{"name": "Tagged", "type": "Flow", "tag": "FI-7/2.PV"}])
    options = ("--model-type", "anomaly", "--sensor-id")
    result = run_json("train", "sensors", *options, "FI-7/2.PV", home=home, code=6)
    assert [item["name"] for item in result["items"]] == [f"{number}-anomaly"]
    refused = run_json("train", "sensors", *options, "FI-8", home=home, code=7)
    assert "FI-8" in refused["error"]
    Sensors(database).delete("default", number)


def test_all_sensors_and_then_only_what_is_due(home: Path) -> None:
    process = run_process("scripts/train_models.py", "--jobs", 1, "--json", home=home)
    result = json.loads(process.stdout)
    assert result["message"].startswith("15 of 21 models trained")
    failed = {item["name"] for item in result["items"] if item["state"] == "failed"}
    # A model that merely lacks data is not a failure.
    assert (process.returncode, result["success"], len(result["items"])) == (0, True, 21)
    assert failed == {f"{sensor}-calibration" for sensor in (14, 15, 17, 18, 19, 20)}
    # The guide's examples use sensor 13: its models beat the simple rules, and 4.0 bar can be calibrated.
    of_13 = {item["name"]: item["metrics"] for item in result["items"] if item["name"].startswith("13-")}
    assert all(metrics["beats_baselines"] for metrics in of_13.values()), of_13
    database = open_storage(Settings(home=home)).database
    known = [row["corrected_value"] for row in Calibrations(database).list_manual(13)]
    assert min(known) < 4.0 < max(known)
    # Nor is it tried again every hour.
    result = run_json("schedule", "sensors", "--interval", 3600, "--run-once", home=home)
    assert (result["due"], result["items"]) == ({}, [])
    assert set(result["insufficient_data"]) == failed
    assert set(result["insufficient_data"].values()) == {"Not enough data: 0 calibrations, at least 5 needed"}


def test_models_that_lack_data_are_counted_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    report_lacking({f"{sensor}-drift": "no data" for sensor in range(1, 1_151)} | {"7-calibration": "none"})
    (line,) = capsys.readouterr().out.splitlines()
    assert "1 calibration, 1,150 drift (such as 1-drift: no data)" in line
    report_lacking({})
    assert not capsys.readouterr().out


def test_wrong_use_has_an_exit_code_of_its_own_and_trains_nothing(home: Path) -> None:
    sessions = open_storage(Settings(home=home)).sessions
    before = [session.id for session in sessions.list("default")]
    result = run_json("train", "sensors", "--sensor-id", 99, home=home, code=7)
    assert "99" in result["error"]
    result = run_json("train", "sensors", "--model-type", "anomaly", home=home, code=6)
    assert result["error"].startswith("Give --sensor-id or --all-sensors")
    result = run_json("train", "sensors", "--sensor-id", 13, "--all-sensors", home=home, code=6)
    assert result["error"] == "Give either --sensor-id or --all-sensors"
    assert [session.id for session in sessions.list("default")] == before


def test_files_are_imported_whole_or_without_invalid_lines(home: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "history.csv"
    lines = ["sensor_id;raw_value;timestamp", "13;3,9;2020-01-01T00:00:00Z", "13;high;2020-01-01T01:00:00Z"]
    wrong.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    result = run_json("import", "readings", wrong, home=home, code=6)
    assert (result["wrong"], result["errors"][0]["record"]) == (1, 3)
    result = run_json("import", "readings", wrong, "--skip-invalid", home=home, code=1)
    assert (result["accepted"], result["wrong"]) == (1, 1)
    torn = tmp_path / "torn.ndjson"
    good = '{"sensor": 13, "raw_value": 3.7, "timestamp": "2020-01-01T03:00:00Z"}'
    torn.write_text(f"\n{good[:12]}\n{good}\n")
    result = run_json("import", "readings", torn, home=home, code=6)
    assert [error["record"] for error in result["errors"]] == [2]
    foreign = tmp_path / "latin.csv"
    foreign.write_bytes("sensor_id;raw_value;où\n".encode("latin-1"))
    result = run_json("import", "readings", foreign, home=home, code=6)
    assert "is not UTF-8 (in Excel: save as “CSV UTF-8”)" in result["error"]
    right = tmp_path / "more.ndjson"
    right.write_text('{"sensor": 13, "raw_value": 3.8, "timestamp": "2020-01-01T02:00:00Z"}\n')
    run_json("import", "readings", right, home=home)
    table = pd.DataFrame({"sensor_id": [13, None], "raw_value": [3.6, None]})
    table["timestamp"] = [datetime(2020, 1, 1, 4), None]
    table.to_parquet(tmp_path / "table.parquet")
    run_json("import", "readings", tmp_path / "table.parquet", "--skip-invalid", home=home, code=1)
    database = open_storage(Settings(home=home)).database
    assert Readings(database).series(13, until=1_600_000_000_000_000).values.tolist() == [3.9, 3.8, 3.6]


@pytest.mark.parametrize(
    ("sessions", "by_name", "code"),
    [
        ([("completed", [TRAINED, LACKING])], True, 0),
        ([("completed", [TRAINED]), ("failed", [LACKING, LACKING])], True, 0),
        ([("failed", [LACKING])], True, 6),
        ([("failed", [LACKING])], False, 3),
        ([("completed", [TRAINED, LACKING, BROKEN])], True, 1),
        ([("cancelled", [])], True, 1),
        ([("rejected", [TRAINED])], True, 4),
    ],
)
def test_a_model_that_merely_lacks_data_is_no_failure(sessions: list, by_name: bool, code: int) -> None:
    results: list[Any] = [
        SimpleNamespace(id=1, state=state, items=items, message="") for state, items in sessions
    ]
    assert report_results(results, as_json=True, plan=None if by_name else RetrainPlan({}, {})) == code
