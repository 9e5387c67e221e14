"""A hook gets the result as JSON; a hook that fails is reported and changes nothing else."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cli.console import ExitCode
from cli.training.incremental import RunResult
from cli.training.notify import ResultNotifier, send
from errors import InvalidContent, NotReady


def test_a_command_reads_the_result_from_its_standard_input(tmp_path: Path) -> None:
    code = f"import sys, pathlib; pathlib.Path({str(tmp_path / 'got')!r}).write_text(sys.stdin.read())"
    assert send(f'{sys.executable} -c "{code}"', {"outcome": "trained"}) is None
    assert json.loads((tmp_path / "got").read_text()) == {"outcome": "trained"}


@pytest.mark.parametrize("command", ["false", "no-such-program-anywhere", "'unbalanced"])
def test_a_command_that_fails_is_named(command: str) -> None:
    assert command in (send(command, {}) or "")


def test_a_url_gets_the_result_posted() -> None:
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200 if self.path == "/good" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    assert send(f"{address}/good", {"a": 1}) is None
    assert json.loads(received[0]) == {"a": 1}
    assert "answered 500" in (send(f"{address}/bad", {}) or "")
    server.shutdown()
    server.server_close()
    assert send(f"{address}/gone", {}) is not None


def test_an_error_that_repeats_itself_is_told_when_it_begins_changes_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = tmp_path / "calls"
    code = f"import sys; open({str(calls)!r}, 'a').write(sys.stdin.read() + chr(10))"
    hook = f'{sys.executable} -c "{code}"'
    notifier = ResultNotifier("", hook, as_json=False, quiet=True)
    away = RunResult(outcome="failed", error=NotReady("away"), exit_code=ExitCode.UNREACHABLE)
    blank = RunResult(outcome="failed", error=InvalidContent("blank row"), exit_code=ExitCode.REFUSED)
    for result in (away, away, blank, blank, RunResult(), RunResult(), away):
        notifier.notify(result)
    documents = [json.loads(line) for line in calls.read_text().splitlines()]
    assert [d["error"] and d["error"]["error"] for d in documents] == ["away", "blank row", None, "away"]
    assert [d.get("recovered", False) for d in documents] == [False, False, True, False]
    assert capsys.readouterr().out.count("Failed: away") == 2


def test_a_single_run_always_reports(capsys: pytest.CaptureFixture[str]) -> None:
    notifier = ResultNotifier("", "", as_json=False, quiet=False)
    notifier.notify(RunResult())
    notifier.notify(RunResult())
    assert capsys.readouterr().out.count("Not enough for a training yet.") == 2


@pytest.mark.parametrize(
    ("outcome", "hook"), [("trained", "success"), ("not_promoted", "failure"), ("nothing_to_do", None)]
)
def test_only_a_promoted_training_is_a_success(tmp_path: Path, outcome: str, hook: str | None) -> None:
    notifier = ResultNotifier(
        f"touch {tmp_path / 'success'}", f"touch {tmp_path / 'failure'}", as_json=True, quiet=False
    )
    notifier.notify(RunResult(outcome=outcome))
    assert [path.name for path in tmp_path.iterdir()] == ([hook] if hook else [])
