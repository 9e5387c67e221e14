"""The outbox of notes for MLflow: written by the web worker, uploaded by a process of its own.

The end of a session leaves a small file in ``data/tracking/waiting``. An uploader (`training.tracking.uploader`)
carries all of them to the MLflow store once the server has been quiet for a moment; what cannot be uploaded
stays, and is tried again after the next session. So no training waits for MLflow, no web worker imports it, and
none fails with it.
"""

from __future__ import annotations

import importlib.util
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final, Literal, NotRequired, TypedDict

import structlog

from errors import MillwrightError
from prediction.contract import ModelKey
from settings import PROJECT, Settings
from storage.container import Storage
from storage.db.sessions import Session, SessionRecord
from storage.filesystem.checked_write import write_atomic
from storage.filesystem.files import make_folders
from storage.filesystem.locks import ProcessLock
from storage.models.manifest import ModelRecord
from training.execution.ipc import nan_to_none
from training.services.sessions import model_key

log = structlog.get_logger()

LOCAL: Final = "local"
DISABLED: Final = "none"
# The lowest priority: trainings and predictions go first.
NICENESS: Final = 19


class UploadOrders(TypedDict):
    """What an uploader needs to know: two folders, the address of the store, and its priority."""

    folder: str
    run_dir: str
    uri: str
    niceness: int


class TrackingNote(TypedDict):
    """A note for the uploader, of the end of a session or of how a model does in production.

    ``version`` is the folder of the version that a session made, relative to the home folder; notes of version 0.1
    have the whole path.
    """

    id: str
    kind: Literal["session", "performance"]
    model: ModelRecord
    session: NotRequired[SessionRecord]
    version: NotRequired[str | None]
    performance: NotRequired[Mapping[str, object]]


class NoTracking:
    """Tracks nothing: tracking is switched off, or MLflow is not installed."""

    def record_session(self, session: Session) -> None:
        """Record what a session did."""

    def record_performance(self, key: ModelKey, performance: Mapping[str, object]) -> None:
        """Record how a model does in production: numbers by name, as of now."""

    def upload(self) -> None:
        """Start to upload what is waiting, without waiting for it."""


class MlflowTracking(NoTracking):
    """Leaves notes for the uploader."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.folder = storage.settings.data_dir / "tracking"
        self.waiting = self.folder / "waiting"
        self._lock = uploader_lock(storage.settings.run_dir)

    def record_session(self, session: Session) -> None:
        """Record what a session did."""
        key, version = model_key(session), None
        if session.version is not None:
            folder = self._storage.versions.folder(key.path, session.version)
            version = folder.relative_to(self._storage.settings.home).as_posix()
        self._write_note("session", key, {"session": asdict(session), "version": version})

    def record_performance(self, key: ModelKey, performance: Mapping[str, object]) -> None:
        """Record how a model does in production."""
        self._write_note("performance", key, {"performance": performance})

    def upload(self) -> None:
        """Start an uploader unless one runs."""
        if not any(self.waiting.glob("*.json")) or self._lock.is_held():
            return
        settings = self._storage.settings
        orders: UploadOrders = {
            "folder": str(self.folder),
            "run_dir": str(settings.run_dir),
            "uri": store_uri(settings),
            "niceness": NICENESS,
        }
        try:
            start_uploader(orders)
        except OSError as error:
            log.warning("tracking_postponed", reason=str(error))

    def _write_note(self, kind: str, key: ModelKey, facts: Mapping[str, object]) -> None:
        """Write a note whose name sorts by time and is unique."""
        note_id = f"{time.time_ns():020d}-{secrets.token_hex(8)}"
        note = nan_to_none({"id": note_id, "kind": kind, "model": asdict(key), **facts})
        try:
            make_folders(self.waiting)
            content = json.dumps(note, default=str).encode()
            write_atomic(self.waiting / f"{note_id}.json", content, durable=False)
        except (MillwrightError, OSError) as error:
            log.warning("not_tracked", model=str(key), reason=str(error))


def open_tracking(storage: Storage) -> NoTracking:
    """Return the tracking that the settings describe; none if MLflow is not installed."""
    if storage.settings.tracking_uri == DISABLED or not is_installed():
        return NoTracking()
    return MlflowTracking(storage)


def is_installed() -> bool:
    """Return whether MLflow is installed, without importing it."""
    return importlib.util.find_spec("mlflow") is not None


def store_uri(settings: Settings) -> str:
    """Return the URI of the MLflow store; the local one is a database below ``data/tracking``."""
    if settings.tracking_uri != LOCAL:
        return settings.tracking_uri
    return f"sqlite:///{settings.data_dir / 'tracking' / 'mlflow.db'}"


def uploader_lock(run_dir: Path) -> ProcessLock:
    """Return the lock of the one uploader that runs."""
    return ProcessLock(run_dir / "locks" / "tracker")


def start_uploader(orders: UploadOrders) -> None:
    """Start an uploader that outlives this process.

    Its orders go in by standard input: an address may hold a password, which a command line would show.
    """
    uploader = subprocess.Popen(
        [sys.executable, "-m", "training.tracking.uploader"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=PROJECT,
        start_new_session=True,
    )
    assert uploader.stdin is not None
    with uploader.stdin as stdin:
        stdin.write(json.dumps(orders).encode())
