"""What MLflow is told of sessions: written down by the worker, carried over by a process of its own.

A session's end leaves a small file in ``data/tracking/waiting``. A tracker (``training/tracking/uploader.py``) carries
all of them to the MLflow store once the server has been quiet for a moment; what cannot be carried stays and
is tried again after the next session. So no training waits for MLflow, no worker imports it, and none fails
with it.
"""

from __future__ import annotations

import importlib.util
import json
import secrets
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

import structlog

from errors import MillwrightError
from prediction.contract import JSON, ModelKey
from settings import PROJECT, Settings
from storage.container import Storage
from storage.db.sessions import Session
from storage.filesystem.files import make_folders, write_atomic
from storage.filesystem.locks import ProcessLock
from training.execution.ipc import nan_to_none
from training.services.sessions import model_key

log = structlog.get_logger()

LOCAL: Final = "local"
NOWHERE: Final = "none"
NICENESS = 19
"""Trainings and predictions go first."""


class NoTracking:
    """Tracks nowhere: it is switched off, or MLflow is not installed."""

    def ended(self, session: Session) -> None:
        """Take down what a session did."""

    def measured(self, key: ModelKey, performance: JSON) -> None:
        """Take down how a model does in production: numbers by name, as of now."""

    def carry(self) -> None:
        """See to it that what is waiting is carried over, without waiting for it."""


class MlflowTracking(NoTracking):
    """Leaves notes for the tracker.

    Parameters
    ----------
    storage : Storage
        Where versions lie.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.folder = storage.settings.data_dir / "tracking"
        self.waiting = self.folder / "waiting"
        self._lock = tracker_lock(storage.settings.run_dir)

    def ended(self, session: Session) -> None:
        key, version = model_key(session), None
        if session.version is not None:
            version = str(self._storage.versions.folder(key.path, session.version))
        self._note("session", key, {"session": asdict(session), "version": version})

    def measured(self, key: ModelKey, performance: JSON) -> None:
        self._note("performance", key, {"performance": performance})

    def carry(self) -> None:
        if not any(self.waiting.glob("*.json")) or self._lock.is_held():
            return
        settings = self._storage.settings
        about = {"folder": str(self.folder), "run_dir": str(settings.run_dir), "uri": store_uri(settings)}
        try:
            _start_tracker({**about, "niceness": NICENESS})
        except OSError as error:
            log.warning("tracking_postponed", reason=str(error))

    def _note(self, kind: str, key: ModelKey, facts: JSON) -> None:
        """Leave a file for the tracker; its name sorts by time and tells this run from all others."""
        note = f"{time.time_ns():020d}-{secrets.token_hex(8)}"
        told = nan_to_none({"id": note, "kind": kind, "model": asdict(key), **facts})
        try:
            make_folders(self.waiting)
            content = json.dumps(told, default=str).encode()
            write_atomic(self.waiting / f"{note}.json", content, durable=False)
        except (MillwrightError, OSError) as error:
            log.warning("not_tracked", model=str(key), reason=str(error))


def open_tracking(storage: Storage) -> NoTracking:
    """Tracking as the settings want it; nothing where it is off, or where MLflow is not installed."""
    if storage.settings.tracking_uri == NOWHERE or not is_installed():
        return NoTracking()
    return MlflowTracking(storage)


def is_installed() -> bool:
    """Whether there is an MLflow, asked without importing it."""
    return importlib.util.find_spec("mlflow") is not None


def store_uri(settings: Settings) -> str:
    """The MLflow store in force; the local one is a database below ``data/tracking``."""
    if settings.tracking_uri != LOCAL:
        return settings.tracking_uri
    return f"sqlite:///{settings.data_dir / 'tracking' / 'mlflow.db'}"


def tracker_lock(run_dir: Path) -> ProcessLock:
    """Held by the one tracker that runs."""
    return ProcessLock(run_dir / "tracker.lock")


def _start_tracker(about: JSON) -> None:
    """Start the tracker on its own: it outlives a command, and ends by itself.

    What it has to know goes in by standard input: an address may hold a password, which a command line shows.
    """
    tracker = subprocess.Popen(
        [sys.executable, "-m", "training.tracking.uploader"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=PROJECT,
        start_new_session=True,
    )
    assert tracker.stdin is not None
    with tracker.stdin as told:
        told.write(json.dumps(about).encode())
