"""The commands for sensors, on the demo plant, as the old platform's users type them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.training.batch_progress import report_lacking, report_results
from demo.sensors import install_demo_sensors
from prediction.sensors.monitoring import RetrainPlan
from settings import PROJECT, Settings
from storage.container import open_storage
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
from tests.live_server import environment

TRAINED = {"name": "1-drift", "state": "completed"}
LACKING = {"name": "1-calibration", "state": "failed", "code": "not_enough_data", "error": "too little"}
BROKEN = {"name": "1-anomaly", "state": "failed", "code": "training_failed", "error": "broken"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the seven demo sensors."""
    folder = tmp_path_factory.mktemp("plant")
    storage = open_storage(Settings(home=folder))
    storage.database.migrate()
    assert install_demo_sensors(storage.database)
    assert not install_demo_sensors(storage.database)
    storage.database.close()
    return folder


def run(home: Path, command: str, descriptors: int | None = None) -> tuple[int, dict]:
    """Exit code and JSON answer of a command that may open so many files."""
    limited = [] if descriptors is None else ["prlimit", f"--nofile={descriptors}"]
    done = subprocess.run(
        [*limited, sys.executable, *command.split(), "--json"],
        cwd=PROJECT,
        env=environment(home, sentence_model="none"),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_demo_plant_has_the_old_ids_and_calibrations_only_for_13(home: Path) -> None:
    database = open_storage(Settings(home=home)).database
    assert Sensors(database).ids("default") == [13, 14, 15, 17, 18, 19, 20]
    assert {row["status"] for row in Sensors(database).page("default")[0]} == {"online"}
    assert Readings(database).count("default") == 7 * 30 * 96
    assert [len(Calibrations(database).list_manual(sensor)) for sensor in (13, 14)] == [10, 0]


def test_one_model_of_one_sensor(home: Path) -> None:
    code, told = run(home, "scripts/train_models.py --sensor-id 13 --model-type anomaly")
    assert code == 0, told
    assert [(item["name"], item["state"]) for item in told["items"]] == [("13-anomaly", "completed")]


def test_all_sensors_and_then_only_what_is_due(home: Path) -> None:
    code, told = run(home, "scripts/train_models.py --jobs 1", descriptors=512 + 12)
    assert told["message"].count("of 12 models trained") == told["message"].count("of 9 models trained") == 1
    failed = {item["name"] for item in told["items"] if item["state"] == "failed"}
    assert (code, told["success"], len(told["items"])) == (0, True, 21)  # what lacks data is no failure
    assert failed == {f"{sensor}-calibration" for sensor in (14, 15, 17, 18, 19, 20)}
    code, told = run(home, "scripts/auto_train_models.py --interval 3600 --run-once")
    assert (code, told["due"], told["items"]) == (3, {}, [])
    assert set(told["lacking"]) == failed  # told, but neither tried nor a failed session every hour
    assert set(told["lacking"].values()) == {"Not enough data: 0 calibrations, at least 5 needed"}


def test_models_that_lack_data_are_counted_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    report_lacking({f"{sensor}-drift": "no data" for sensor in range(1, 1_151)} | {"7-calibration": "none"})
    (line,) = capsys.readouterr().out.splitlines()
    assert "1 calibration, 1,150 drift (such as 1-drift: no data)" in line
    report_lacking({})
    assert not capsys.readouterr().out


def test_wrong_orders_are_refused_with_a_code_of_their_own(home: Path) -> None:
    assert run(home, "scripts/train_models.py --sensor-id 99")[0] == 7
    assert run(home, "scripts/train_models.py --model-type anomaly")[0] == 6
    assert run(home, "scripts/train_models.py --sensor-id 13 --all-sensors")[0] == 6


def test_files_are_imported_whole_or_on_request_in_part(home: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "history.csv"
    lines = ["sensor_id;raw_value;timestamp", "13;3,9;2020-01-01T00:00:00Z", "13;high;2020-01-01T01:00:00Z"]
    wrong.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    code, told = run(home, f"cli/imports/readings.py {wrong}")
    assert (code, told["wrong"]) == (6, 1)
    assert told["errors"][0]["record"] == 3
    code, told = run(home, f"cli/imports/readings.py {wrong} --partial")
    assert (code, told["accepted"], told["wrong"]) == (1, 1, 1)
    torn = tmp_path / "torn.ndjson"
    good = '{"sensor": 13, "raw_value": 3.7, "timestamp": "2020-01-01T03:00:00Z"}'
    torn.write_text(f"\n{good[:12]}\n{good}\n")
    code, told = run(home, f"cli/imports/readings.py {torn}")
    assert (code, [error["record"] for error in told["errors"]]) == (6, [2])
    foreign = tmp_path / "latin.csv"
    foreign.write_bytes("sensor_id;raw_value;où\n".encode("latin-1"))
    code, told = run(home, f"cli/imports/readings.py {foreign}")
    assert (code, "is not UTF-8 (in Excel: save as “CSV UTF-8”)" in told["error"]) == (6, True)
    right = tmp_path / "more.ndjson"
    right.write_text('{"sensor": 13, "raw_value": 3.8, "timestamp": "2020-01-01T02:00:00Z"}\n')
    assert run(home, f"cli/imports/readings.py {right}")[0] == 0
    database = open_storage(Settings(home=home)).database
    assert Readings(database).series(13, until=1_600_000_000_000_000).values.tolist() == [3.9, 3.8]


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
    told = [SimpleNamespace(id=1, state=state, items=items, message="") for state, items in sessions]
    assert report_results(told, as_json=True, found=None if by_name else RetrainPlan({}, {})) == code
