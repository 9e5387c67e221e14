"""Every command as an operator types it: what it says, its JSON, its exit code."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from demo.anomaly_reports import DEMO_FOLDER, demo_records
from settings import PROJECT
from tests.live_server import environment, free_port, live_server

COMMANDS = (
    "backups",
    "demo",
    "demo_data",
    "incremental_training",
    "keys",
    "test_training_pipeline",
    "training_example",
)


def run(command: str, *arguments: str, home: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """A command of scripts/ over a home folder; no server is looked for where none was named."""
    port = settings.pop("port", None) or free_port()
    return subprocess.run(
        [sys.executable, f"scripts/{command}.py", *arguments],
        cwd=PROJECT,
        env=environment(home, port=port, sentence_model="none", **settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def told(command: str, *arguments: str, home: Path, code: int = 0, **settings: object) -> Any:
    """The JSON of a command that ends with the code."""
    ended = run(command, *arguments, "--json", home=home, **settings)
    assert ended.returncode == code, f"{ended.returncode}: {ended.stdout}{ended.stderr}"
    return json.loads(ended.stdout)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with the demo plant's files and no model."""
    shutil.copytree(DEMO_FOLDER, tmp_path / "data")
    return tmp_path


def exported(path: Path, reports: list[dict[str, object]]) -> Path:
    """The reports as a plant's system exports them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(reports[0]))
        writer.writeheader()
        writer.writerows(reports)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    ended = run(command, "--help", home=tmp_path)
    assert ended.returncode == 0
    assert "Usage" in ended.stdout or "usage" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_setting_is_named(home: Path) -> None:
    answer = told("keys", "list", home=home, code=2, prot=1)
    assert "MILLWRIGHT_PORT" in answer["error"]


class TestKeys:
    def test_a_key_is_made_listed_and_revoked(self, home: Path) -> None:
        made = told("keys", "create", "--role", "train", "--label", "night export", home=home)
        assert made["secret"].startswith("mw_")
        listed = told("keys", "list", home=home)
        assert [(key["role"], key["label"]) for key in listed["keys"]] == [("train", "night export")]
        assert made["secret"] not in json.dumps(listed)
        told("keys", "revoke", str(made["key"]["id"]), home=home)
        assert told("keys", "list", home=home)["keys"][0]["revoked_at"] is not None

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
        ended = run("keys", *arguments, home=home)
        assert ended.returncode == code
        assert ended.stderr


class TestBackups:
    def test_made_verified_restored_and_forgotten(self, home: Path) -> None:
        name = told("backups", "create", "--reason", "a test", home=home)["name"]
        data = home / "data" / "fiabilite.csv"
        before = data.read_bytes()
        data.write_bytes(before[: before.rindex(b"\n", 0, -1) + 1])

        dry = told("backups", "restore", name, "--dry-run", home=home)
        assert any("fiabilite.csv" in change for change in dry["changes"])
        assert data.read_bytes() != before

        restored = told("backups", "restore", name, home=home)
        assert data.read_bytes() == before
        assert restored["safety_backup"].startswith("model_backups/backup_")

        plan = told("backups", "forget", "--keep-last", "1", home=home)["backups"]
        assert [(row["name"] == name, row["keep"]) for row in plan] == [(False, True), (True, False)]
        assert told("backups", "list", home=home)["count"] == 1

    def test_a_dry_run_removes_nothing_and_says_why(self, home: Path) -> None:
        for _ in range(2):
            told("backups", "create", home=home)
        plan = told("backups", "forget", "--keep-last", "1", "--dry-run", home=home)
        assert plan["dry_run"] is True
        assert all(row["reason"] for row in plan["backups"])
        assert told("backups", "list", home=home)["count"] == 2

    def test_a_damaged_backup_is_found_and_never_restored(self, home: Path) -> None:
        name = told("backups", "create", home=home)["name"]
        (copy,) = (home / "model_backups" / name).rglob("fiabilite.csv")
        content = bytearray(copy.read_bytes())
        content[len(content) // 2] ^= 1
        copy.write_bytes(content)
        checked = told("backups", "verify", home=home, code=6)
        assert "fiabilite.csv" in checked["backups"][0]["problem"]
        assert told("backups", "restore", name, home=home, code=6)["code"] == "backup_corrupt"

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
        assert run("backups", *arguments, home=home).returncode == code

    def test_the_database_is_copied_whole(self, home: Path) -> None:
        told("keys", "create", "--role", "read", home=home)
        copied = told("backups", "database", home=home)
        with sqlite3.connect(copied["path"]) as copy:
            assert copy.execute("SELECT role FROM api_keys").fetchall() == [("read",)]
        assert told("backups", "database", "--to", copied["path"], home=home, code=5)["code"] == "conflict"


class TestWithoutAServer:
    def test_incremental_training_takes_what_is_new_once(self, home: Path, tmp_path: Path) -> None:
        file = exported(tmp_path / "export.csv", demo_records(12, seed=1))
        first = told("incremental_training", "--file", str(file), home=home)
        assert (first["where"], first["records_new"], first["outcome"]) == ("in this process", 12, "trained")
        again = told("incremental_training", "--file", str(file), home=home, code=3)
        assert (again["records_read"], again["records_new"]) == (12, 0)
        assert len((home / "data" / "fiabilite.csv").read_text("utf-8").splitlines()) == 413

    def test_too_few_wait_for_more(self, home: Path, tmp_path: Path) -> None:
        file = exported(tmp_path / "export.csv", demo_records(3, seed=1))
        assert told("incremental_training", "--file", str(file), home=home, code=3)["records_new"] == 3
        assert not list((home / "models").rglob("manifest.json"))

    def test_a_record_at_fault_is_named_and_a_hook_is_told(self, home: Path, tmp_path: Path) -> None:
        reports = demo_records(12, seed=1)
        reports[4]["availability_score"] = 9
        file = exported(tmp_path / "export.csv", reports)
        hook = (
            f"{sys.executable} -c \"import sys; open(r'{tmp_path / 'told'}', 'w').write(sys.stdin.read())\""
        )
        arguments = ("--file", str(file), "--on-failure", hook)
        failed = told("incremental_training", *arguments, home=home, code=6)
        assert failed["error"]["validation_errors"] == [
            "Record 5: availability_score must be between 1 and 5, got 9"
        ]
        assert json.loads((tmp_path / "told").read_text()) == failed

    def test_a_hook_that_fails_is_told_and_changes_no_exit_code(self, home: Path, tmp_path: Path) -> None:
        file = exported(tmp_path / "export.csv", [demo_records(1, seed=1)[0] | {"availability_score": 9}])
        ended = run("incremental_training", "--file", str(file), "--on-failure", "false", home=home)
        assert ended.returncode == 6
        assert "the hook failed: false ended with 1" in ended.stderr

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            ([], 2),
            (["--file", "a.csv", "--folder", "b"], 2),
            (["--sql", "sqlite://"], 2),
            (["--sql", "sqlite:////nowhere/a.db", "--query", "SELECT 1", "--in-process"], 7),
            (["--file", "a.csv", "--schedule", "now and then"], 2),
            (["--file", "a.csv", "--urgent", "very"], 2),
            (["--file", "a.csv", "--least", "0"], 2),
            (["--file", "/nowhere/a.csv", "--in-process"], 7),
            (["--folder", "/nowhere", "--in-process"], 7),
            (["--file", "a.csv", "--url", "http://127.0.0.1:1"], 9),
            (["--file", "a.csv", "--url", "no address"], 9),
        ],
    )
    def test_wrong_use_has_its_code(self, home: Path, arguments: list[str], code: int) -> None:
        ended = run("incremental_training", *arguments, home=home)
        assert ended.returncode == code, ended.stdout + ended.stderr

    @pytest.mark.parametrize("command", ["training_example", "test_training_pipeline"])
    def test_a_walk_without_a_server_says_so(self, home: Path, command: str) -> None:
        ended = run(command, "--url", "http://127.0.0.1:1", home=home)
        assert ended.returncode == 9
        assert "No server answers" in ended.stderr

    def test_demo_fills_an_empty_folder(self, tmp_path: Path) -> None:
        assert run("demo", home=tmp_path).returncode == 0
        assert len(list((tmp_path / "data").glob("*.csv"))) == 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with live_server(tmp_path_factory.mktemp("commands"), sentence_model="none") as address:
        yield address


class TestWithAServer:
    def test_every_endpoint_of_the_guide_holds(self, server: str, tmp_path: Path) -> None:
        found = told("test_training_pipeline", "--url", server, home=tmp_path)
        assert len(found["checks"]) >= 15

    def test_the_example_walks_to_its_end(self, server: str, tmp_path: Path) -> None:
        port = int(server.rpartition(":")[2])
        for named in (["--url", server], []):
            ended = run("training_example", *named, home=tmp_path, port=port)
            assert ended.returncode == 0, ended.stdout + ended.stderr
            assert "POST /train/undo/" in ended.stdout

    def test_demo_fills_the_server(self, server: str, tmp_path: Path) -> None:
        ended = run("demo", "--url", server, home=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert requests.get(f"{server}/train/status", timeout=30).json()["training_sessions_completed"] >= 3

    def test_the_server_that_runs_here_is_preferred(self, server: str, tmp_path: Path) -> None:
        file = exported(tmp_path / "export.csv", demo_records(12, seed=31))
        port = int(server.rpartition(":")[2])
        result = told("incremental_training", "--file", str(file), home=tmp_path, port=port)
        assert (result["where"], result["records_new"]) == (server, 12)

    def test_one_urgent_record_of_a_folder_trains_at_once(self, server: str, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        urgent = {**demo_records(1, seed=32)[0], "process_safety_score": 5}
        exported(tmp_path / "in" / "new.csv", [urgent])
        arguments = ("--folder", str(tmp_path / "in"), "--urgent", "process_safety_score>=5", "--url", server)
        assert told("incremental_training", *arguments, home=tmp_path)["urgent"] is True
        told("incremental_training", *arguments, home=tmp_path, code=3)

    def test_a_watched_folder_is_left_in_peace_on_sigterm(self, server: str, tmp_path: Path) -> None:
        exported(tmp_path / "new.csv", demo_records(3, seed=33))
        arguments = ["--folder", str(tmp_path), "--watch", "--least", "2", "--url", server, "--json"]
        watch = subprocess.Popen(
            [sys.executable, "scripts/incremental_training.py", *arguments],
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
        secret = told("keys", "create", "--role", "train", "--label", "x", home=tmp_path)["secret"]
        key = tmp_path / "key"
        key.write_text(secret)
        for more in ((), ("--api-key-file", str(key))):
            port = int(address.rpartition(":")[2])
            ended = run("test_training_pipeline", *more, home=tmp_path, port=port)
            assert (ended.returncode, ended.stdout) == (8, "")
            assert "need an API key of the role admin" in ended.stderr


def test_make_demo_hands_over_a_key() -> None:
    planned = subprocess.run(
        ["make", "-n", "demo", "KEY_FILE=a key.txt"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert 'cli/demo.py --api-key-file "a key.txt"' in planned.stdout
