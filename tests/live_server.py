"""A real server for tests: ``python app.py`` over a home folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from settings import ENV_PREFIX, PROJECT

START_SECONDS, STOP_SECONDS = 90.0, 30.0


def environment(home: Path, **settings: object) -> dict[str, str]:
    """Return the environment of a server or command over a home folder."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    settings.setdefault("tracking_uri", "none")  # each would start MLflow, which costs seconds
    ours = {ENV_PREFIX + name.upper(): str(value) for name, value in {"home": home, **settings}.items()}
    return {**others, **ours}


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        server.wait(STOP_SECONDS)


def wait_until_ready(server: subprocess.Popen[bytes], address: str, home: Path) -> None:
    """Wait until a server answers that it is ready; fail with its log where it does not."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if requests.get(f"{address}/health/ready", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the server did not get ready:\n{(home / 'server.log').read_text()[-5000:]}")
