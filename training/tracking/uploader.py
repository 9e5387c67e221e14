"""The process that carries notes of sessions to MLflow: it waits for a quiet moment, then works."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from prediction.contract import JSON
from training.tracking.outbox import tracker_lock

if TYPE_CHECKING:
    from training.tracking.mlflow_store import MlflowStore

log = structlog.get_logger()

_QUIET_S: Final = 2.0
_LONGEST_WAIT_S: Final = 60.0
_TICK_S: Final = 0.25
_MOST_FAILURES: Final = 3
"""After so many in a row the store is taken to be away; what is left waits for the next tracker."""
_KEPT_DAYS: Final = 30


def main(about: JSON) -> None:
    """Carry over every note there is, unless another tracker does; come back for what came meanwhile."""
    waiting = Path(about["folder"]) / "waiting"
    lock = tracker_lock(Path(about["run_dir"]))
    while any(waiting.glob("*.json")) and lock.acquire():
        try:
            _wait_for_quiet(waiting)
            carried = carry_all(about, waiting)
        finally:
            lock.release()
        if not carried:
            return


def carry_all(about: JSON, waiting: Path) -> bool:
    """Carry over the notes, the oldest first; whether all of them went."""
    _configure_mlflow()
    try:
        from training.tracking.mlflow_store import MlflowStore

        store = MlflowStore(about["uri"], Path(about["folder"]))
    except Exception as error:
        log.warning("tracking_failed", uri=_shown(about["uri"]), reason=_reason(error))
        return False
    failures = left = 0
    for file in sorted(waiting.glob("*.json")):
        done = _carried(store, file)
        left += not done
        failures = 0 if done else failures + 1
        if failures == _MOST_FAILURES:
            break
    return not left


def _configure_mlflow() -> None:
    """What MLflow reads when it is imported: else it tells its makers how it is used, and waits for long."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")


def _carried(store: MlflowStore, file: Path) -> bool:
    """Whether one note went over, or is none; a failure is told, and the note stays for a month."""
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
        store.carry(note)
    except Exception as error:
        log.warning("not_tracked", note=file.name, reason=_reason(error))
        if time.time() - file.stat().st_mtime < _KEPT_DAYS * 86_400:
            return False
    file.unlink(missing_ok=True)
    return True


def _wait_for_quiet(waiting: Path) -> None:
    """Until no session has ended for a moment, so that trainings in a row have the processor."""
    deadline = time.monotonic() + _LONGEST_WAIT_S
    while time.monotonic() < deadline:
        newest = max((file.stat().st_mtime for file in waiting.glob("*.json")), default=0.0)
        if time.time() - newest >= _QUIET_S:
            return
        time.sleep(_TICK_S)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:500]}"


def _shown(uri: str) -> str:
    """An address without what stands before its host: it may be a password."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    told = json.loads(sys.stdin.read())
    os.nice(told["niceness"])
    main(told)
