"""The process that uploads notes of sessions to MLflow: it waits for a quiet moment, then works."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from errors import describe_error
from settings import hide_credentials
from training.tracking.outbox import UploadOrders, uploader_lock

if TYPE_CHECKING:
    from training.tracking.mlflow_store import MlflowStore

log = structlog.get_logger()

_QUIET_SECONDS: Final = 2.0
_MAX_WAIT_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.25
# After so many in a row the store is taken to be down; what is left waits for the next uploader.
_MAX_FAILURES: Final = 3
# Older notes that cannot be uploaded are deleted.
_MAX_AGE_DAYS: Final = 30


def main(orders: UploadOrders) -> None:
    """Upload all notes, unless another uploader does; come back for those written in the meantime."""
    waiting = Path(orders["folder"]) / "waiting"
    lock = uploader_lock(Path(orders["run_dir"]))
    while any(waiting.glob("*.json")) and lock.acquire():
        try:
            _wait_for_quiet(waiting)
            is_complete = upload_all(orders["uri"], Path(orders["folder"]))
        finally:
            lock.release()
        if not is_complete:
            return


def upload_all(uri: str, folder: Path) -> bool:
    """Upload the notes, the oldest first; return whether all of them were uploaded."""
    # Read by MLflow when it is imported: else it reports how it is used, and waits long for a dead server.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    try:
        from training.tracking.mlflow_store import MlflowStore

        store = MlflowStore(uri, folder)
    except Exception as error:
        # Whatever stands before the host of an address may be a password.
        log.warning("tracking_failed", uri=hide_credentials(uri), reason=_reason(error))
        return False
    failures = remaining = 0
    for file in sorted((folder / "waiting").glob("*.json")):
        if _upload(store, file):
            failures = 0
            continue
        failures, remaining = failures + 1, remaining + 1
        if failures == _MAX_FAILURES:
            break
    return not remaining


def _upload(store: MlflowStore, file: Path) -> bool:
    """Upload one note; return whether it needs no further try. A failure is logged, and the note stays."""
    try:
        store.add(json.loads(file.read_text(encoding="utf-8")))
    except Exception as error:
        log.warning("not_tracked", note=file.name, reason=_reason(error))
        if time.time() - file.stat().st_mtime < _MAX_AGE_DAYS * 86_400:
            return False
    file.unlink(missing_ok=True)
    return True


def _wait_for_quiet(waiting: Path) -> None:
    """Wait until no session has ended for a moment, so that trainings in a row have the processor."""
    deadline = time.monotonic() + _MAX_WAIT_SECONDS
    while time.monotonic() < deadline:
        newest = max((file.stat().st_mtime for file in waiting.glob("*.json")), default=0.0)
        if time.time() - newest >= _QUIET_SECONDS:
            return
        time.sleep(_POLL_SECONDS)


def _reason(error: Exception) -> str:
    return describe_error(error)[:500]


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    stdin_orders = json.loads(sys.stdin.read())
    os.nice(stdin_orders["niceness"])
    main(stdin_orders)
