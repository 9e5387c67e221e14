"""Every command as an operator types it: what it says, its JSON, its exit code."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cli.console import ExitCode
from cli.main import COMMANDS
from demo.anomaly_reports import DEMO_FOLDER, demo_records
from prediction.scoring.serving.severe_reports import SevereReports
from settings import PROJECT, VERSION
from tests.cli.runner import run, run_json, run_process
from tests.live_server import environment, live_server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home folder with the demo plant's files and no model."""
    shutil.copytree(DEMO_FOLDER, tmp_path / "data")
    return tmp_path


def export_csv(path: Path, reports: list[dict[str, object]]) -> Path:
    """Return the reports as a plant's system exports them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(reports[0]))
        writer.writeheader()
        writer.writerows(reports)
    return path


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=str)
def test_every_command_explains_itself(command: list[str], tmp_path: Path) -> None:
    result = run(*command, "--help", home=tmp_path)
    assert result.exit_code == 0
    assert f"Usage: millwright {' '.join(command)}".rstrip() in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "script", sorted((PROJECT / "scripts").glob("[a-z]*.py")), ids=lambda path: path.stem
)
def test_the_names_of_the_guide_run_the_same_commands(script: Path, tmp_path: Path) -> None:
    process = run_process(script, "--help", home=tmp_path)
    assert process.returncode == 0
    assert "Usage: millwright" in process.stdout


def test_the_shell_completes_commands_and_options(tmp_path: Path) -> None:
    variables = {
        "_MILLWRIGHT_COMPLETE": "complete_bash",
        "COMP_WORDS": "millwright keys re",
        "COMP_CWORD": "2",
    }
    code = "from cli.main import main; main()"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env={**os.environ, **variables},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.stdout.split() == ["revoke"]


def test_the_version_is_the_one_of_the_package(tmp_path: Path) -> None:
    assert run("--version", home=tmp_path).stdout == f"millwright {VERSION}\n"


def test_a_misspelt_setting_is_named(home: Path) -> None:
    answer = run_json("keys", "list", home=home, code=2, prot=1)
    assert "MILLWRIGHT_PORT" in answer["error"]


class TestKeys:
    def test_a_key_is_made_listed_and_revoked(self, home: Path) -> None:
        made = run_json("keys", "create", "--role", "train", "--label", "night export", home=home)
        assert made["secret"].startswith("mw_")
        listed = run_json("keys", "list", home=home)
        assert [(key["role"], key["label"]) for key in listed["keys"]] == [("train", "night export")]
        assert made["secret"] not in json.dumps(listed)
        run_json("keys", "revoke", str(made["key"]["id"]), home=home)
        assert run_json("keys", "list", home=home)["keys"][0]["revoked_at"] is not None

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["create", "--role", "root"], 2),
            (["create"], 2),
            (["create", "--role", "read", "--tenant", "../x"], 6),
            (["revoke", "99"], 7),
            (["revoke", "one"], 2),
        ],
    )
    def test_wrong_use_has_its_code(self, home: Path, arguments: list[str], code: int) -> None:
        result = run("keys", *arguments, home=home)
        assert result.exit_code == code
        assert result.stderr


class TestBackups:
    def test_made_verified_restored_and_forgotten(self, home: Path) -> None:
        name = run_json("backups", "create", "--reason", "a test", home=home)["name"]
        data = home / "data" / "fiabilite.csv"
        before = data.read_bytes()
        data.write_bytes(before[: before.rindex(b"\n", 0, -1) + 1])

        dry = run_json("backups", "restore", name, "--dry-run", home=home)
        assert any("fiabilite.csv" in change for change in dry["changes"])
        assert data.read_bytes() != before

        restored = run_json("backups", "restore", name, home=home)
        assert data.read_bytes() == before
        assert restored["safety_backup"].startswith("model_backups/backup_")

        plan = run_json("backups", "forget", "--keep-last", "1", home=home)["backups"]
        assert [(row["name"] == name, row["keep"]) for row in plan] == [(False, True), (True, False)]
        assert run_json("backups", "list", home=home)["count"] == 1

    def test_a_dry_run_removes_nothing_and_says_why(self, home: Path) -> None:
        for _ in range(2):
            run_json("backups", "create", home=home)
        plan = run_json("backups", "forget", "--keep-last", "1", "--dry-run", home=home)
        assert plan["dry_run"] is True
        assert all(row["reason"] for row in plan["backups"])
        assert run_json("backups", "list", home=home)["count"] == 2

    def test_a_damaged_backup_is_found_and_never_restored(self, home: Path) -> None:
        name = run_json("backups", "create", home=home)["name"]
        (copy,) = (home / "model_backups" / name).rglob("fiabilite.csv")
        content = bytearray(copy.read_bytes())
        content[len(content) // 2] ^= 1
        copy.write_bytes(content)
        checked = run_json("backups", "verify", home=home, code=6)
        assert "fiabilite.csv" in checked["backups"][0]["problem"]
        assert run_json("backups", "restore", name, home=home, code=6)["code"] == "backup_corrupt"

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["restore", "backup_20200101_000000"], 7),
            (["restore", "../../etc/passwd"], 7),
            (["forget"], 2),
            (["forget", "some", "--keep-last", "1"], 2),
            (["forget", "--keep-last", "-1"], 2),
        ],
    )
    def test_wrong_use_has_its_code(self, home: Path, arguments: list[str], code: int) -> None:
        assert run("backups", *arguments, home=home).exit_code == code

    def test_the_database_is_copied_whole(self, home: Path) -> None:
        run_json("keys", "create", "--role", "read", home=home)
        copied = run_json("backups", "database", home=home)
        with sqlite3.connect(copied["path"]) as copy:
            assert copy.execute("SELECT role FROM api_keys").fetchall() == [("read",)]
        assert (
            run_json("backups", "database", "--output", copied["path"], home=home, code=5)["code"]
            == "conflict"
        )


class TestWithoutAServer:
    def test_incremental_training_takes_what_is_new_once(self, home: Path, tmp_path: Path) -> None:
        file = export_csv(tmp_path / "export.csv", demo_records(12, seed=1))
        first = run_json("train", "incremental", "--file", str(file), home=home)
        assert first["location"] == f"in this process ({home})"
        assert (first["records_new"], first["outcome"]) == (12, "trained")
        again = run_json("train", "incremental", "--file", str(file), home=home, code=3)
        assert (again["records_read"], again["records_new"]) == (12, 0)
        assert len((home / "data" / "fiabilite.csv").read_text("utf-8").splitlines()) == 413

    def test_too_few_wait_for_more(self, home: Path, tmp_path: Path) -> None:
        file = export_csv(tmp_path / "export.csv", demo_records(3, seed=1))
        assert run_json("train", "incremental", "--file", str(file), home=home, code=3)["records_new"] == 3
        assert not list((home / "models").rglob("manifest.json"))

    def test_a_record_at_fault_is_named_and_a_hook_is_told(self, home: Path, tmp_path: Path) -> None:
        reports = demo_records(12, seed=1)
        reports[4]["availability_score"] = 9
        file = export_csv(tmp_path / "export.csv", reports)
        hook = (
            f"{sys.executable} -c \"import sys; open(r'{tmp_path / 'told'}', 'w').write(sys.stdin.read())\""
        )
        arguments = ("--file", str(file), "--on-failure", hook)
        failed = run_json("train", "incremental", *arguments, home=home, code=6)
        assert failed["error"]["validation_errors"] == [
            "Record 5: availability_score must be between 1 and 5, got 9"
        ]
        assert json.loads((tmp_path / "told").read_text()) == failed

    def test_a_hook_that_fails_is_told_and_changes_no_exit_code(self, home: Path, tmp_path: Path) -> None:
        file = export_csv(tmp_path / "export.csv", [demo_records(1, seed=1)[0] | {"availability_score": 9}])
        result = run("train", "incremental", "--file", str(file), "--on-failure", "false", home=home)
        assert result.exit_code == 6
        assert "the hook failed: false ended with 1" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            ([], 2),
            (["--file", "a.csv", "--folder", "b"], 2),
            (["--database-url", "sqlite://"], 2),
            (["--database-url", "sqlite:////nowhere/a.db", "--query", "SELECT 1", "--local"], 7),
            (["--file", "a.csv", "--schedule", "now and then"], 2),
            (["--file", "a.csv", "--train-if", "very"], 2),
            (["--file", "a.csv", "--min-records", "0"], 2),
            (["--file", "/nowhere/a.csv", "--local"], 7),
            (["--folder", "/nowhere", "--local"], 7),
            (["--file", "a.csv", "--url", "http://127.0.0.1:1"], 9),
            (["--file", "a.csv", "--url", "no address"], 9),
        ],
    )
    def test_wrong_use_has_its_code(self, home: Path, arguments: list[str], code: int) -> None:
        result = run("train", "incremental", *arguments, home=home)
        assert result.exit_code == code, result.stdout + result.stderr

    @pytest.mark.parametrize("command", ["tour", "check"])
    def test_a_tour_without_a_server_says_so(self, home: Path, command: str) -> None:
        result = run("demo", command, "--url", "http://127.0.0.1:1", home=home)
        assert result.exit_code == 9
        assert "No server answers" in result.stderr

    def test_demo_fills_an_empty_folder(self, tmp_path: Path) -> None:
        assert run("demo", "fill", home=tmp_path).exit_code == 0
        assert len(list((tmp_path / "data").glob("*.csv"))) == 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with live_server(tmp_path_factory.mktemp("commands"), sentence_model="none") as address:
        yield address


class TestWithAServer:
    def test_every_endpoint_of_the_guide_holds(self, server: str, tmp_path: Path) -> None:
        result = run_json("demo", "check", "--url", server, home=tmp_path)
        assert len(result["checks"]) >= 15

    def test_the_example_walks_to_its_end(self, server: str, tmp_path: Path) -> None:
        port = int(server.rpartition(":")[2])
        for named in (["--url", server], []):
            result = run("demo", "tour", *named, home=tmp_path, port=port)
            assert result.exit_code == 0, result.stdout + result.stderr
            assert "POST /train/undo/" in result.stdout

    def test_demo_fills_the_server(self, server: str, tmp_path: Path) -> None:
        result = run("demo", "fill", "--url", server, home=tmp_path)
        assert result.exit_code == 0, result.stderr
        assert requests.get(f"{server}/train/status", timeout=30).json()["training_sessions_completed"] >= 3

    def test_the_server_that_runs_here_is_preferred(self, server: str, tmp_path: Path) -> None:
        file = export_csv(tmp_path / "export.csv", demo_records(12, seed=31))
        port = int(server.rpartition(":")[2])
        result = run_json("train", "incremental", "--file", str(file), home=tmp_path, port=port)
        assert (result["location"], result["records_new"]) == (server, 12)

    def test_one_urgent_record_of_a_folder_trains_at_once(self, server: str, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        urgent = {**demo_records(1, seed=32)[0], "process_safety_score": 5}
        export_csv(tmp_path / "in" / "new.csv", [urgent])
        arguments = (
            "--folder",
            str(tmp_path / "in"),
            "--train-if",
            "process_safety_score>=5",
            "--url",
            server,
        )
        assert run_json("train", "incremental", *arguments, home=tmp_path)["urgent"] is True
        run_json("train", "incremental", *arguments, home=tmp_path, code=3)

    def test_a_watched_folder_is_left_in_peace_on_sigterm(self, server: str, tmp_path: Path) -> None:
        export_csv(tmp_path / "new.csv", demo_records(3, seed=33))
        arguments = ["--folder", str(tmp_path), "--poll", "--min-records", "2", "--url", server, "--json"]
        watch = subprocess.Popen(
            [sys.executable, "-m", "cli", "train", "incremental", *arguments],
            cwd=PROJECT,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watch.stdout is not None
        assert watch.stdout.readline() == "{\n"
        watch.terminate()
        assert json.loads("{" + watch.stdout.read())["records_new"] == 3
        assert watch.wait(30) == 0


def test_checks_without_a_key_are_one_sentence(tmp_path: Path) -> None:
    with live_server(tmp_path, sentence_model="none") as address:
        secret = run_json("keys", "create", "--role", "train", "--label", "x", home=tmp_path)["secret"]
        key = tmp_path / "key"
        key.write_text(secret)
        for more in ((), ("--api-key-file", str(key))):
            port = int(address.rpartition(":")[2])
            result = run("demo", "check", *more, home=tmp_path, port=port)
            assert (result.exit_code, result.stdout) == (8, "")
            assert "need an API key of the role admin" in result.stderr


def test_make_demo_hands_over_a_key() -> None:
    planned = subprocess.run(
        ["make", "-n", "demo", "KEY_FILE=a key.txt"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert 'millwright demo fill --api-key-file "a key.txt"' in planned.stdout


def test_severe_cases_are_chosen_and_cleared(home: Path) -> None:
    case, *_ = SevereReports().list_cases({"folder": str(home / "data")}, None)
    assert run_json("severe-cases", "list", home=home) == {"chosen_by": None, "cases": [], "missing": []}
    assert run_json("severe-cases", "set", case.id, "--by", "Karim", home=home)["chosen_by"] == "Karim"
    refused = run("severe-cases", "set", "nobody", "--by", "Karim", home=home)
    assert refused.exit_code == ExitCode.REFUSED and "nobody" in refused.stderr
    assert run_json("severe-cases", "clear", home=home)["chosen_by"] is None
