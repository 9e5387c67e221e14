"""A plant under test: a home folder, a real server that can be killed, and what must hold afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import requests

from settings import PROJECT
from storage.anomaly_reports.csv_store import FILES, IDS_FILE
from tests.live_server import environment, free_port, wait_until_ready
from tests.waiting import MAX_WAIT_SECONDS, eventually

DATA_FILES = (*FILES.values(), IDS_FILE)
ENDS = {"completed", "rejected", "failed", "cancelled", "interrupted"}
PROBE = {"description": "Fuite d'huile au palier de la pompe", "equipment_id": "probe"}


class Plant:
    """A home folder with its server, which may be running or not.

    Parameters
    ----------
    home : Path
        The folder; ``server.log`` in it holds what the server said.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.server: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, command: Sequence[str] = (), **settings: object) -> None:
        """Start the server, by another command if told, and wait until it is ready."""
        asked = {"port": self.port, "workers": 1, "demo_data": 0, "sentence_model": "none", **settings}
        with (self.home / "server.log").open("a") as log:
            self.server = subprocess.Popen(
                [*command, sys.executable, "app.py"],
                cwd=PROJECT,
                env=environment(self.home, **asked),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until_ready(self.server, self.address, self.home)

    def wait_for_champions(self) -> None:
        """Until each worker has its champion in memory: the first that is ready answers for all."""
        log = self.home / "server.log"
        eventually(lambda: log.read_text().count("champion_loaded") >= len(self.workers()))

    def stop(self) -> int:
        """End the server as a deploy does; its exit status."""
        assert self.server is not None
        self.server.send_signal(signal.SIGTERM)
        status = self.server.wait(MAX_WAIT_SECONDS)
        self.server = None
        return status

    def kill(self) -> None:
        """Kill the server and everything it started, at once."""
        if self.server is not None:
            self.server.send_signal(signal.SIGSTOP)  # or it would start new workers meanwhile
            eventually(self._stands_still)  # a worker forked at the last moment would keep the port
            for process in [*self.family(), self.server]:
                kill(process.pid)
            self.server.wait(MAX_WAIT_SECONDS)
            self.server = None

    def _stands_still(self) -> bool:
        assert self.server is not None
        try:
            status = psutil.Process(self.server.pid).status()
        except psutil.NoSuchProcess:
            return True
        return status in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)

    def family(self) -> list[psutil.Process]:
        """Return the server's workers and their children."""
        assert self.server is not None
        try:
            return psutil.Process(self.server.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def workers(self) -> list[psutil.Process]:
        """Return the web workers."""
        assert self.server is not None
        return psutil.Process(self.server.pid).children()

    def children(self) -> list[psutil.Process]:
        """Return the processes that train and verify, the spares among them."""
        workers = {worker.pid for worker in self.workers()}
        return [process for process in self.family() if process.pid not in workers]

    def get(self, path: str) -> Any:
        return requests.get(self.address + path, timeout=MAX_WAIT_SECONDS).json()

    def post(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        return requests.post(self.address + path, json=body, headers=headers, timeout=MAX_WAIT_SECONDS)

    def try_post(self, path: str, body: Any = None) -> requests.Response | None:
        """Return the answer, or None where the server died of the question."""
        try:
            return self.post(path, body)
        except (requests.ConnectionError, requests.Timeout):
            return None

    def data(self) -> dict[str, bytes]:
        """Return the bytes of the data files."""
        files = {name: self.home / "data" / name for name in DATA_FILES}
        return {name: file.read_bytes() if file.exists() else b"" for name, file in files.items()}

    def champion(self) -> int | None:
        pointer = self.home / "models" / "default" / "scoring" / "default" / "champion.json"
        return json.loads(pointer.read_text())["version"] if pointer.exists() else None

    def backup_of_session(self, session_id: int) -> str:
        """Return the name of the backup that was made before a session."""
        manifests = (self.home / "model_backups").glob("*/manifest.json")
        return next(m.parent.name for m in manifests if json.loads(m.read_text())["session_id"] == session_id)

    def answer(self) -> tuple[str, Any]:
        """Return what the served model says to one fixed report, and which version said so."""
        answer = self.post("/predict?similar_reports=0", PROBE)
        assert answer.status_code == 200, answer.text
        return answer.headers["X-Model-Version"], answer.json()["predictions"][0]["scores"]


def kill(pid: int) -> None:
    """SIGKILL, unless it is gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def batch(label: str, count: int = 3) -> list[dict[str, Any]]:
    """Return new records whose ids begin with a label."""
    return [
        {
            "anomaly_id": f"{label}-{number}",
            "description": f"Vibration au palier {number} du ventilateur {label}, bruit anormal",
            "equipment_name": f"Ventilateur {label}",
            "equipment_id": f"VT-{label}",
            "availability_score": 1 + number % 3,
            "fiability_score": 2,
            "process_safety_score": 1,
        }
        for number in range(count)
    ]


def copies(template: Path, folder: Path) -> Iterator[Plant]:
    """Return a plant over a copy of a home folder; whatever still runs in the end is killed."""
    home = folder / "home"
    shutil.copytree(template, home, ignore=shutil.ignore_patterns("run", "server.log"))
    plant = Plant(home)
    yield plant
    plant.kill()


def stored(data: dict[str, bytes], label: str) -> dict[str, int]:
    """How many records of a batch each file holds."""
    marks = {name: f"VT-{label}" if name != IDS_FILE else f"{label}-" for name in data}
    return {name: data[name].decode().count(f"\n{marks[name]}") for name in data}


def assert_whole(plant: Plant, before: dict[str, bytes], label: str, count: int = 3) -> bool:
    """Assert that the data files are byte for byte what they were, or all of them have exactly the batch behind it.

    Returns
    -------
    bool
        Whether the batch is there.
    """
    after = plant.data()
    if after == before:
        return False
    assert all(after[name].startswith(before[name]) for name in after), "bytes that stood there have changed"
    assert stored(after, label) == dict.fromkeys(DATA_FILES, count), "a batch is there in part, or twice"
    added = {name: after[name][len(before[name]) :].count(b"\n") for name in after}
    assert set(added.values()) <= {count, count + (not before[IDS_FILE])}, "more was added than the batch"
    return True


def assert_truthful(plant: Plant) -> dict[str, Any]:
    """Nothing runs, every session has ended, every backup is whole, no litter; the last session."""
    status = plant.get("/train/status")
    assert status["is_training"] is False
    sessions = plant.get("/train/sessions")["results"]
    assert {session["state"] for session in sessions} <= ENDS
    for backup in plant.get("/train/backups")["backups"]:
        verified = plant.post(f"/train/backups/{backup['name']}/verify")
        assert verified.status_code == 200, verified.text
    eventually(lambda: not litter(plant.home), told=lambda: f"half-made: {litter(plant.home)}")
    last: dict[str, Any] = sessions[0]
    return last


def litter(home: Path) -> list[Path]:
    """Return what a dead process was making and nobody has swept away; a worker that starts does."""
    walked = os.walk(home)  # heeds no folder that goes while it looks
    found = (Path(folder, name) for folder, folders, files in walked for name in (*folders, *files))
    return [path for path in found if is_litter(path)]


def is_litter(path: Path) -> bool:
    """Whether a file or folder is something half made."""
    if {"run", "cache"} & set(path.parts):
        return False
    return path.name.startswith((".staging", ".tmp", ".trash")) or path.name == "entry.json"


def assert_trains(plant: Plant, label: str) -> None:
    """Assert that a new training works, and what it acknowledged is there exactly once."""
    answer = plant.post("/train", batch(label))
    assert answer.status_code == 200, answer.text
    assert answer.json()["statistics"]["total_records_added"] == 3
    assert stored(plant.data(), label) == dict.fromkeys(DATA_FILES, 3)
