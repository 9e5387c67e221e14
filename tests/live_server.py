"""A real server for tests: ``python app.py`` over a home folder of its own."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

from settings import ENV_PREFIX, PROJECT
from tests.waiting import MAX_WAIT_SECONDS, eventually


def environment(home: Path, **settings: object) -> dict[str, str]:
    """Return the environment of a server or command over a home folder."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    settings.setdefault("tracking_uri", "none")  # each would start MLflow, which costs seconds
    ours = {ENV_PREFIX + name.upper(): str(value) for name, value in {"home": home, **settings}.items()}
    return {**others, **ours}


def free_port() -> int:
    """Return a port that nobody uses; outgoing connections take theirs from 32768 on, and none of these."""
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def live_server(home: Path, **settings: object) -> Iterator[str]:
    """Return the address of a server that is ready; its log is ``server.log`` in the home folder."""
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=PROJECT,
            env=environment(home, port=port, workers=1, **settings),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(server, address, home)
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(MAX_WAIT_SECONDS)


def wait_until_ready(server: subprocess.Popen[bytes], address: str, home: Path) -> None:
    """Wait until a server answers that it is ready; fail with its log where it does not."""

    def is_ready() -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{address}/health/ready", timeout=MAX_WAIT_SECONDS).ok
        return server.poll() is not None

    log = home / "server.log"
    eventually(is_ready, log.read_text)
    assert server.poll() is None, f"the server did not get ready:\n{log.read_text()[-5000:]}"
