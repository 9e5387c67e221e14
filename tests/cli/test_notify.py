"""A hook gets the result as JSON; a hook that fails is reported and changes nothing else."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cli.training.notify import send


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
