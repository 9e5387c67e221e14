"""The server as people start it: gunicorn in front, real sockets, signals and exit codes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from app import ONE_COMPUTE_THREAD
from settings import PROJECT, Settings
from storage.container import open_storage
from tests.live_server import free_port
from tests.waiting import MAX_WAIT_SECONDS, eventually

FEW_RECORDS = [
    {
        "anomaly_id": f"A-{number}",
        "description": f"Fuite d'huile au presse-étoupe, vibration {number % 5} mm/s sur le palier.",
        "equipment_name": "POMPE",
        "equipment_id": f"P-{number % 3}",
        "availability_score": 1 + number % 5,
        "fiability_score": 1 + number % 4,
        "process_safety_score": 1 + number % 3,
    }
    for number in range(12)
]


@dataclass
class Server:
    """One running server."""

    process: subprocess.Popen[str]
    port: int
    home: Path

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """One request on a connection of its own: status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=MAX_WAIT_SECONDS)
        data = None if body is None else json.dumps(body).encode()
        sent = {**({"Content-Type": "application/json"} if data else {}), **(headers or {})}
        with contextlib.closing(connection):
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()

    def raw(self, data: bytes) -> bytes:
        """Return what comes back for these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=MAX_WAIT_SECONDS) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(MAX_WAIT_SECONDS)


@contextlib.contextmanager
def server(home: Path, **variables: str) -> Iterator[Server]:
    """``python app.py`` over a home folder, ended in the end."""
    port = free_port()
    environ = _environment(home, MILLWRIGHT_PORT=str(port), **variables)
    with (home.parent / f"{home.name}.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / "app.py")], env=environ, stderr=log, stdout=log, text=True,
            start_new_session=True,
        )  # fmt: skip
        running = Server(process, port, home)
        try:
            _wait_until_alive(running)
            yield running
        finally:
            if process.poll() is None:
                running.stop()
            log.seek(0)
            sys.stdout.write(log.read())


def _environment(home: Path, **variables: str) -> dict[str, str]:
    own = ("MILLWRIGHT_", *ONE_COMPUTE_THREAD)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    ours = {
        "MILLWRIGHT_HOME": str(home),
        "MILLWRIGHT_DEMO_DATA": "0",
        "MILLWRIGHT_SENTENCE_MODEL": "none",
        "MILLWRIGHT_TRACKING_URI": "none",
        "MILLWRIGHT_SHUTDOWN_GRACE_SECONDS": "2",
        "MILLWRIGHT_WORKERS": "2",
    }
    return {**kept, **ours, **variables}


def _wait_until_alive(running: Server) -> None:
    def is_alive() -> bool:
        with contextlib.suppress(OSError):
            return bool(running.ask("GET", "/health/live")[0] == 200)
        return running.process.poll() is not None

    eventually(is_alive)
    assert running.process.poll() is None, "the server did not start"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that leave it running."""
    with server(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture(scope="module")
def trained(running: Server) -> Server:
    """Return the same server, with a champion."""
    status, _, body = running.ask("POST", "/train", FEW_RECORDS)
    assert status == 200, body
    return running


def test_importing_the_module_does_nothing(tmp_path: Path) -> None:
    code = "import app, threading; print(threading.active_count())"
    environ = _environment(tmp_path / "home")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"
    assert not (tmp_path / "home").exists()


def test_a_worker_is_light(trained: Server) -> None:
    """What a worker has loaded once it has answered a prediction, measured in a process of its own."""
    heavy = ("torch", "sklearn", "pandas", "scipy", "joblib", "transformers", "sentence_transformers")
    code = f"""
import sys
from pathlib import Path
from app import create_app
from settings import Settings
client = create_app(Settings(home=Path({str(trained.home)!r}), sentence_model="none")).test_client()
assert client.get("/health/live").status_code == 200
assert client.post("/predict", json={{"description": "Fuite d'huile"}}).status_code == 200
import psutil
print(psutil.Process().memory_info().rss / 1e6, [name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    megabytes, loaded = done.stdout.splitlines()[-1].split(" ", 1)
    assert loaded == "[]"
    assert float(megabytes) < 400


def test_the_guides_first_steps(trained: Server) -> None:
    status, headers, body = trained.ask(
        "POST", "/predict", {"description": "Fuite d'huile", "equipment_id": "P-1"}
    )
    assert status == 200
    answer = json.loads(body)
    assert headers["X-Model-Version"] == str(answer["model_version"])
    assert set(answer["predictions"][0]["scores"]) == {"availability", "fiability", "process_safety"}
    status, _, body = trained.ask("GET", "/train/status")
    assert json.loads(body)["last_training"]["models_retrained"] == 3
    status, _, body = trained.ask("POST", "/train/reload")
    assert (status, json.loads(body)["models_loaded"]) == (200, True)


def test_a_csv_text_is_predicted(trained: Server) -> None:
    text = 'description;equipment_id;couleur\nFuite d\'huile;P-1;rouge\n"Bruit; fort";P-2;bleu\n'
    connection = http.client.HTTPConnection("127.0.0.1", trained.port)
    connection.request("POST", "/predict", text.encode(), {"Content-Type": "text/csv"})
    answer = json.loads(connection.getresponse().read())
    assert len(answer["predictions"]) == 2
    assert answer["ignored_fields"] == ["couleur"]


def test_counters_of_all_workers_are_added(trained: Server) -> None:
    before = _counted(trained)
    for _ in range(40):
        trained.ask("GET", "/health/live")
    assert _counted(trained) - before == 40


def _counted(server: Server) -> float:
    text = server.ask("GET", "/metrics")[2].decode()
    wanted = 'millwright_http_requests_total{method="GET",route="/health/live",status="200"}'
    return float(next(line for line in text.splitlines() if line.startswith(wanted)).rsplit(" ", 1)[1])


HOSTILE = {
    "a foreign host": (b"Host: evil.com\r\n", {403}),
    "two hosts": (b"Host: localhost\r\nHost: evil.com\r\n", {400, 403}),
    "the same host twice": (b"Host: localhost\r\nHost: localhost\r\n", {400, 403}),
    "no host": (b"", {400}),
    "an empty host": (b"Host: \r\n", {400}),
    "a foreign page": (b"Host: localhost\r\nOrigin: https://evil.com\r\n", {403}),
    "a page without origin": (b"Host: localhost\r\nOrigin: null\r\n", {403}),
    "another port": (b"Host: localhost\r\nOrigin: http://localhost:9999\r\n", {403}),
    "a foreign site": (b"Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", {403}),
    "text": (b"Host: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n", {415}),
    "a form": (
        b"Host: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 2\r\n",
        {415},
    ),
    "no type": (b"Host: localhost\r\nContent-Length: 2\r\n", {415}),
    "text in chunks": (b"Host: localhost\r\nTransfer-Encoding: chunked\r\n", {415, 400}),
    "two lengths": (b"Host: localhost\r\nContent-Length: 2\r\nContent-Length: 9\r\n", {400}),
    "length and chunks": (
        b"Host: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        {400, 415},
    ),
}


@pytest.mark.parametrize("path", [b"/train", b"/train/reload", b"/train/backups", b"/train/restore/x"])
@pytest.mark.parametrize(("headers", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_a_web_page_does_not_drive_a_real_server(
    running: Server, path: bytes, headers: bytes, expected: set[int]
) -> None:
    answer = running.raw(b"POST " + path + b" HTTP/1.1\r\n" + headers + b"Connection: close\r\n\r\n[]")
    status = int(answer.split(b" ", 2)[1])
    assert status in expected, answer[:300]
    assert b"Access-Control" not in answer


def test_a_body_that_ends_early_is_not_taken_for_whole(running: Server) -> None:
    for path, content_type in ((b"/train", b"application/json"), (b"/predict", b"text/csv")):
        head = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + content_type
        answer = running.raw(head + b"\r\nContent-Length: 900\r\nConnection: close\r\n\r\n[]\n[]")
        assert answer.startswith(b"HTTP/1.1 400"), answer[:200]


@pytest.mark.parametrize(
    "path",
    [b"/train/backups/..%2f..%2fetc%2fpasswd", b"/train/backups/../../etc/passwd", b"/models//etc/passwd",
     b"/models/scoring/default/champion/files/..%2f..%2f..%2fchampion.json", b"/docs/%2e%2e/conftest.py",
     b"/train/backups/%00", b"//etc/passwd", b"/train/backups/%ff%fe"],
)  # fmt: skip
def test_a_path_that_climbs_finds_nothing(running: Server, path: bytes) -> None:
    answer = running.raw(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert int(answer.split(b" ", 2)[1]) in (400, 404)
    assert b"root:" not in answer


def test_a_body_over_the_limit_is_not_read_to_its_end(running: Server) -> None:
    head = b"POST /train HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = running.raw(head + b"Content-Length: 99000000\r\nConnection: close\r\n\r\n[")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"too_large"' in answer


def test_the_control_socket_is_off(running: Server) -> None:
    sockets = [c.laddr for process in _family(running) for c in process.net_connections(kind="unix")]
    assert [str(address) for address in sockets if "gunicorn.ctl" in str(address)] == []


def test_compute_threads_are_one_a_worker(running: Server) -> None:
    living = [process for process in _family(running)[1:] if process.status() != psutil.STATUS_ZOMBIE]
    for worker in living:
        if "gunicorn" in " ".join(worker.cmdline()):
            assert worker.environ()["OMP_NUM_THREADS"] == "1"


def _family(server: Server) -> list[psutil.Process]:
    parent = psutil.Process(server.process.pid)
    return [parent, *parent.children(recursive=True)]


def test_sigterm_ends_everything_cleanly(tmp_path: Path) -> None:
    with server(tmp_path / "home") as started:
        family = _family(started)
        assert started.stop() == 0
        _, alive = psutil.wait_procs(family, timeout=MAX_WAIT_SECONDS)
        assert alive == []


def test_sigterm_interrupts_a_long_training_after_its_grace(tmp_path: Path) -> None:
    variables = {
        "MILLWRIGHT_FAULT_POINT": "child.fitted:sleep:3600",
        "MILLWRIGHT_SHUTDOWN_GRACE_SECONDS": "1",
    }
    with server(tmp_path / "home", **variables) as started:
        status, headers, _ = started.ask("POST", "/train?async=1", FEW_RECORDS)
        assert status == 202
        address = headers["Location"]
        eventually(lambda: json.loads(started.ask("GET", address)[2])["stage"] == "fit")
        assert started.stop() == 0
    storage = open_storage(Settings(home=tmp_path / "home"))
    assert storage.sessions.get(int(address.rsplit("/", 1)[1])).state == "interrupted"
    storage.close()


def test_a_first_start_with_demo_data_trains_by_itself(tmp_path: Path) -> None:
    with server(tmp_path / "home", MILLWRIGHT_DEMO_DATA="1") as started:
        assert (tmp_path / "home/data/disponibilite.csv").exists()
        told: list[Any] = []

        def is_ready() -> bool:
            told.append(started.ask("GET", "/health/ready"))
            return bool(told[-1][0] == 200)

        eventually(is_ready)
        assert {json.loads(body)["code"] for status, _, body in told if status == 503} <= {"first_training"}
        assert json.loads(told[-1][2])["champions"] == [{"model": "scoring/default", "version": 1}]


REFUSED = {
    "an open door": ({"MILLWRIGHT_HOST": "0.0.0.0"}, "without API keys"),
    "an open door on IPv6": ({"MILLWRIGHT_HOST": "::"}, "without API keys"),
    "a name": ({"MILLWRIGHT_HOST": "plant.example"}, "without API keys"),
    "a misspelt setting": ({"MILLWRIGHT_WORKER": "2"}, "Did you mean MILLWRIGHT_WORKERS"),
    "a setting that is none": ({"MILLWRIGHT_PORT_": "1"}, "Unknown setting"),
    "no number": ({"MILLWRIGHT_WORKERS": "two"}, "cannot be used"),
    "no such executor": ({"MILLWRIGHT_EXECUTOR": "dask"}, "use local"),
    "a word for a port": (
        {"MILLWRIGHT_PORT": "abc"},
        "MILLWRIGHT_PORT='abc' cannot be used: it must be a whole",
    ),
    "a port that is none": ({"MILLWRIGHT_PORT": "70000"}, "it must be a port"),
    "a database that is none": ({"MILLWRIGHT_DATABASE_URL": "nonsense"}, "database URL"),
}


@pytest.mark.parametrize(("variables", "said"), REFUSED.values(), ids=REFUSED)
def test_what_must_not_start_says_why(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    environ = _environment(tmp_path / "home", **variables)
    done = subprocess.run(
        [sys.executable, str(PROJECT / "app.py")], env=environ, capture_output=True, text=True,
        timeout=MAX_WAIT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_told_in_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        environ = _environment(tmp_path / "home", MILLWRIGHT_PORT=str(port))
        done = subprocess.run(
            [sys.executable, str(PROJECT / "app.py")], env=environ, capture_output=True, text=True,
            timeout=MAX_WAIT_SECONDS, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Port {port} is taken")
    assert "MILLWRIGHT_PORT=" in line


def test_who_starts_it_is_told_where_it_answers_and_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "home/data").mkdir(parents=True)
    (tmp_path / "home/data/disponibilite.csv").write_bytes("Description;Disponibilté\n".encode("cp1252"))
    with server(tmp_path / "home") as started:
        _, _, health = started.ask("GET", "/health")
        lines = (tmp_path / "home.log").read_text().splitlines()
    address = f"http://127.0.0.1:{started.port}"
    assert f"Millwright answers on {address} (its pages: /docs). Ctrl-C ends it." in lines
    (problem,) = json.loads(health)["problems"]
    assert f"{problem}. Mend the file, then start Millwright again." in lines
    assert "disponibilite.csv, line 1: it is not UTF-8 text" in problem


def test_with_a_key_the_door_may_be_open(tmp_path: Path) -> None:
    storage = open_storage(Settings(home=tmp_path / "home"))
    secret, _ = storage.keys.create("admin")
    storage.close()
    with server(tmp_path / "home", MILLWRIGHT_HOST="0.0.0.0") as started:
        assert started.ask("GET", "/models")[0] == 401
        assert started.ask("GET", "/models", headers={"Authorization": f"Bearer {secret}"})[0] == 200
    assert secret not in (tmp_path / "home.log").read_text()
