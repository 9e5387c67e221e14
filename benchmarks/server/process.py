"""Servers under measurement: Millwright and the guide's, each over a temporary home that goes with it."""

from __future__ import annotations

import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks.measure import Clock, clock

PROJECT = Path(__file__).resolve().parents[2]
READY_S = 1800.0
STOP_S = 30.0
QUIET_PERCENT = 6.0
_POLL_S = 0.02

# Puts a plant's CSV files into an empty data folder.
Fill = Callable[[Path], Any]


class Server:
    """One running server.

    Parameters
    ----------
    command : list of str
        Starts the server in the foreground.
    """

    def __init__(self, name: str, home: Path, port: int, command: list[str]) -> None:
        self.name = name
        self.home = home
        self.url = f"http://127.0.0.1:{port}"
        self.http = requests.Session()
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Its CSV files."""
        return self.home / "data"

    def start(self) -> float:
        """Start it and wait until it is ready; the seconds that took.

        Raises
        ------
        RuntimeError
            It has ended instead; the message holds the end of its log.
        """
        with (self.home / "server.log").open("ab") as log, clock() as taken:
            self._process = subprocess.Popen(self._command, cwd=PROJECT, stdout=log, stderr=log)
            self.wait(lambda: self.answers("/health/ready"), READY_S)
        return taken.seconds

    def stop(self) -> None:
        """End it with SIGTERM, as an operator would."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait until something holds; RuntimeError where it does not, or where the server ends."""
        waited = Clock()
        while not condition():
            if self._process is None or self._process.poll() is not None or waited.seconds > timeout_s:
                log = (self.home / "server.log").read_text(errors="replace")
                raise RuntimeError(f"{self.name} did not get there: {log[-3000:]}")
            time.sleep(_POLL_S)

    def client(self) -> Server:
        """Another client of the same server, with a connection of its own."""
        other = copy(self)
        other.http = requests.Session()
        return other

    def answers(self, path: str) -> bool:
        """Whether a GET is answered with 200 now."""
        try:
            return requests.get(self.url + path, timeout=5).ok
        except requests.RequestException:
            return False

    def post(self, path: str, body: Any) -> dict[str, Any]:
        """Return the answer to a POST, which must be a success."""
        answer = self.http.post(self.url + path, json=body, timeout=900)
        if not answer.ok:
            raise RuntimeError(f"{self.name} answered {answer.status_code} to {path}: {answer.text[:500]}")
        told: dict[str, Any] = answer.json()
        return told

    def get(self, path: str) -> dict[str, Any]:
        """Return the answer to a GET, which must be a success."""
        answer = self.http.get(self.url + path, timeout=60)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def family(self) -> list[psutil.Process]:
        """Return the server's process and all its children."""
        if self._process is None:
            return []
        with suppress(psutil.Error):
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        return []

    def workers(self) -> list[psutil.Process]:
        """Return the processes that answer requests: the first one's own children."""
        return [process for process in self.family()[1:] if process.ppid() == self.family()[0].pid]

    def settle(self, timeout_s: float = 60.0) -> None:
        """Wait until the server has nothing more to do: its spare processes are warm, its caches written."""
        waited, quiet = Clock(), 0
        while quiet < 3 and waited.seconds < timeout_s:
            before = self.used_seconds()
            time.sleep(0.2)
            busy = 100 * (self.used_seconds() - before) / 0.2
            quiet = quiet + 1 if busy < QUIET_PERCENT else 0

    def events(self, session_id: int) -> list[tuple[str, float]]:
        """Return a session's events with their moments (seconds since 1970), from the server's own database."""
        with closing(sqlite3.connect(f"file:{self.data}/millwright.db?mode=ro", uri=True)) as database:
            found = database.execute(
                "SELECT event, created_at FROM session_events WHERE session_id = ? ORDER BY id", (session_id,)
            ).fetchall()
        return [(event, _seconds(moment)) for event, moment in found]

    def used_seconds(self) -> float:
        """Processor time of the server and its children so far: hardly moved by what else runs beside it."""
        total = 0.0
        for process in self.family():
            with suppress(psutil.Error):
                used = process.cpu_times()
                total += used.user + used.system + used.children_user + used.children_system
        return total


@contextmanager
def millwright(fill: Fill, **settings: Any) -> Iterator[Server]:
    """Return a Millwright server over a temporary home with that data, trained once and ready."""

    def command(home: Path, port: int) -> list[str]:
        chosen = {"home": home, "port": port, "demo_data": 0, "log_level": "warning", **settings}
        variables = [f"MILLWRIGHT_{name.upper()}={value}" for name, value in chosen.items()]
        return ["env", *variables, sys.executable, "app.py"]

    yield from _served("Millwright", fill, command)


@contextmanager
def guide(fill: Fill) -> Iterator[Server]:
    """Return the guide's server, under the same web server with one worker (its models live in one process)."""

    def command(home: Path, port: int) -> list[str]:
        served = f"benchmarks.server.guide_baseline:create_app({str(home)!r})"
        options = ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "8"]
        options += ["--timeout", "900", "--log-level", "warning", "--no-control-socket"]
        return [sys.executable, "-m", "gunicorn", *options, served]

    yield from _served("the guide's", fill, command)


def _served(name: str, fill: Fill, command: Callable[[Path, int], list[str]]) -> Iterator[Server]:
    home = Path(tempfile.mkdtemp(prefix="millwright-bench-"))
    try:
        fill(home / "data")
        port = _free_port()
        server = Server(name, home, port, command(home, port))
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
