"""Commands find the right server and key, or say what is wrong; none goes past a server silently."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.client import NoServerRunning, ServerClient, read_api_key
from cli.console import ExitCode
from cli.training.sources import QuerySource, read_reports
from demo.anomaly_reports import demo_records
from errors import BodyTooLarge, ConfigurationError, DataFileInvalid, MillwrightError, NotReady
from settings import PROJECT
from tests.cli.runner import run, run_json
from tests.live_server import environment, live_server
from tests.scripted_server import scripted

SECRET = "mw_0123456789abcdef"


@pytest.mark.parametrize(
    "content",
    [
        SECRET,
        f"\ufeff{SECRET}\r\n",
        f"# the night export\n\n{SECRET}\n",
        json.dumps({"success": True, "secret": SECRET, "key": {}}, indent=2),
    ],
)
def test_a_key_file_is_read_as_people_save_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content, encoding="utf-8")
    assert read_api_key(tmp_path / "key") == SECRET


@pytest.mark.parametrize(
    "content", ["", "# nothing", f"{SECRET}\n{SECRET}", "two words", "mw_é", '{"key": 1}']
)
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="has no API key"):
        read_api_key(tmp_path / "key")


@pytest.mark.parametrize("body", ["<html>", {"message": "Endpoint request timed out"}, ["no"], None])
@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (504, NotReady, "A proxy in front of .* answered 504"),
        (413, BodyTooLarge, "A proxy in front of .*client_max_body_size"),
        (200, NoServerRunning, "is not a Millwright server"),
        (404, NoServerRunning, "is not a Millwright server"),
    ],
)
def test_an_answer_of_a_proxy_is_told_from_one_of_another_program(
    status: int, error: type[MillwrightError], message: str, body: object
) -> None:
    with scripted({"*": [(status, body)]}) as (url, _), pytest.raises(error, match=message):
        ServerClient(url).require_server()


def test_a_training_survives_a_proxy_that_swallows_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off, running = (504, "<html>"), {"training_session_id": 7, "state": "running"}
    promoted = {"training_session_id": 7, "state": "completed", "promoted": True, "message": "done"}
    script: dict[str, list[tuple[int, object]]] = {
        "/health/live": [(200, {"status": "ok"})],
        "/train/scoring/default": [cut_off, (202, running | {"location": "/train/sessions/7"})],
        "/train/sessions/7": [(200, running), cut_off, (200, promoted)],
    }
    monkeypatch.setattr("millwright_client.connection.RETRY_SECONDS", 0.0)
    monkeypatch.setattr("millwright_client.sessions.POLL_SECONDS", 0.0)
    with scripted(script) as (url, keys):
        assert run_json("train", "model", "scoring", "--url", url, home=Path("/nowhere"))["promoted"]
    assert len(keys) == 2
    assert len(set(keys)) == 1  # the second one is a repeat, not a second training


def test_a_list_is_one_option_and_not_an_option_given_twice() -> None:
    option = ("--option", "exclude_channels=a", "--option", 'trusted_channels=["b"]', "--option")
    twice = run("train", "model", "rul", *option, "exclude_channels=c", home=Path("/nowhere"))
    assert twice.exit_code == ExitCode.USAGE
    message = " ".join(twice.stderr.replace("│", " ").split())
    assert "exclude_channels is given twice" in message and """='["a", "c"]'""" in message


def test_a_server_that_refuses_is_not_passed_by(tmp_path: Path) -> None:
    (tmp_path / "reports.json").write_text(json.dumps(demo_records(12, seed=1)))
    refusal = {"success": False, "error": "revoked", "code": "unauthorized"}
    with scripted({"*": [(401, refusal)]}) as (url, _):
        port = url.rpartition(":")[2]
        run_json(
            "train", "incremental", "--file", tmp_path / "reports.json", home=tmp_path, port=port, code=8
        )
    assert not (tmp_path / "data").exists()


def test_a_home_without_data_is_not_filled_by_mistake(tmp_path: Path) -> None:
    (tmp_path / "reports.json").write_text(json.dumps(demo_records(12, seed=1)))
    answer = run_json("train", "incremental", "--file", tmp_path / "reports.json", home=tmp_path, code=9)
    assert "set MILLWRIGHT_HOME" in answer["error"]["error"]
    assert not (tmp_path / "data").exists()


def test_training_without_the_server_is_said(tmp_path: Path) -> None:
    run("demo", "fill", home=tmp_path)
    (tmp_path / "few.json").write_text(json.dumps(demo_records(2, seed=1)))
    result = run("train", "incremental", "--file", tmp_path / "few.json", home=tmp_path)
    assert result.exit_code == 3
    assert f"training in this process, in {tmp_path}" in result.stderr


def test_a_training_is_followed_instead_of_waited_for(tmp_path: Path) -> None:
    with live_server(tmp_path, sentence_model="none") as address:
        session = ServerClient(address).train(demo_records(12, seed=1))
        assert (session["state"], session["promoted"]) in (("completed", True), ("rejected", False))
        again = ServerClient(address).train(demo_records(12, seed=1))
        assert again["training_session_id"] is None


def test_corrected_and_undone_content_does_not_come_back(tmp_path: Path) -> None:
    run("demo", "fill", home=tmp_path)
    reports = demo_records(12, seed=1)
    source, correction = tmp_path / "source.json", tmp_path / "correction.json"
    source.write_text(json.dumps(reports))
    other_score = 1 if reports[0]["availability_score"] == 5 else 5
    correction.write_text(json.dumps([{**reports[0], "availability_score": other_score}]))
    command = ("train", "incremental", "--local", "--min-records", 1, "--file")
    run_json(*command, source, home=tmp_path)
    corrected = run(*command, correction, "--json", home=tmp_path)
    assert json.loads(corrected.stdout)["records_new"] == 1
    again = run_json(*command, source, home=tmp_path, code=3)
    assert again["records_new"] == 0
    assert "then corrected or undone" in again["warnings"][0]


def test_columns_that_are_not_read_are_told(tmp_path: Path) -> None:
    run("demo", "fill", home=tmp_path)
    reports = [{**report, "Availability": 5} for report in demo_records(2, seed=1)]
    (tmp_path / "more.json").write_text(json.dumps(reports))
    result = run_json(
        "train", "incremental", "--local", "--file", tmp_path / "more.json", home=tmp_path, code=3
    )
    assert result["warnings"] == ["Columns that are not read: Availability"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_column_that_appears_twice_is_refused(tmp_path: Path, suffix: str) -> None:
    if suffix == "csv":
        (tmp_path / "a.csv").write_text("anomaly_id,description,description\nA,b,c\n")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_arrays([pa.array(["A"])] * 2, names=["anomaly_id", "anomaly_id"])
        pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataFileInvalid, match=r"twice|column needs a name of its own"):
        read_reports(tmp_path / f"a.{suffix}")


def test_a_column_of_a_query_that_appears_twice_is_refused() -> None:
    with pytest.raises(DataFileInvalid, match="The query has the column 'a' twice"):
        QuerySource("sqlite://", "SELECT 1 AS a, 2 AS a").records()


def test_a_locale_without_unicode_changes_no_exit_code(tmp_path: Path) -> None:
    report = {**demo_records(1, seed=1)[0], "description": "Fuite à l'échelle — €", "availability_score": 9}
    (tmp_path / "reports.json").write_text(json.dumps([report]))
    process = subprocess.run(
        [sys.executable, "-m", "cli", "train", "incremental", "--local", "--json", "--file",
         str(tmp_path / "reports.json")],
        cwd=PROJECT, env={**environment(tmp_path), "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
        capture_output=True, check=False,
    )  # fmt: skip
    assert process.returncode == 6, process.stderr
    assert json.loads(process.stdout)["outcome"] == "failed"
