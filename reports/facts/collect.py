"""What a report is written from: plain JSON of one session, gathered from what is kept of it.

Nothing in it depends on when it is asked for: what has happened since the session is left out, so the same
session always gives the same facts, and the same facts the same document.
"""

from __future__ import annotations

import json
from typing import Any

from errors import MillwrightError
from storage.container import Storage
from storage.db.sessions import Session
from storage.filesystem.files import read_regular_file
from storage.models.versions import ModelVersion

JSON = dict[str, Any]

FORMAT = 3
"""Rises when a report looks different: what is kept of older ones is made again."""

VERSIONS_SHOWN = 10
MAX_EPOCHS = 5_000
MAX_LOG_LINES = 400
_LARGEST_FILE = 16 << 20
_EVENTS_READ = 20_000
_PAGE = 1_000


def collect_facts(storage: Storage, session: Session) -> JSON:
    """Everything a report says of an ended session.

    Returns
    -------
    dict
        ``session`` (its row), ``manifest`` of the version it made (None where it made none), ``history``
        (``epochs``, ``best_epoch``, ``stopped``), ``versions`` (the model's last ones up to this session's,
        the newest first), ``stages`` (what it announced and when) and ``log`` (lines its program printed).
    """
    version = _version(storage, session)
    stages, epochs = _events(storage, session.id)
    return {
        "format": FORMAT,
        "session": _row(session),
        "manifest": version and _told(version.manifest),
        "files": _files(version),
        "history": _history(version) or {"epochs": epochs, "best_epoch": None, "stopped": None},
        "versions": _versions(storage, session),
        "stages": stages,
        "log": _log(version),
    }


def _row(session: Session) -> JSON:
    """The session's row as JSON."""
    moments = {
        name: moment and moment.isoformat(timespec="seconds")
        for name, moment in (
            ("created_at", session.created_at),
            ("started_at", session.started_at),
            ("ended_at", session.ended_at),
        )
    }
    plain = {name: value for name, value in vars(session).items() if name not in moments}
    return {**plain, **moments, "model": f"{session.family}/{session.name}"}


def _version(storage: Storage, session: Session) -> ModelVersion | None:
    """The version that the session made; None where it made none, or where it is there no more."""
    if session.version is None:
        return None
    path = f"{session.tenant}/{session.family}/{session.name}"
    try:
        version = storage.versions.get(path, session.version)
    except MillwrightError:
        return None
    return version if version.manifest.get("session_id") == session.id else None


def _told(manifest: JSON) -> JSON:
    return {name: value for name, value in manifest.items() if name != "files"}


def _files(version: ModelVersion | None) -> list[JSON]:
    files = version.manifest.get("files", {}) if version else {}
    return [{"name": name, "bytes": about["size"]} for name, about in sorted(files.items())]


def _history(version: ModelVersion | None) -> JSON | None:
    """The epochs, as the version's ``training_history.json`` has them."""
    kept: JSON | None = _read(version, "training_history.json")
    if kept is None or not kept.get("epochs"):
        return None
    epochs = kept["epochs"][:MAX_EPOCHS]
    return {"epochs": epochs, "best_epoch": kept.get("best_epoch"), "stopped": kept.get("stopped")}


def _log(version: ModelVersion | None) -> list[str]:
    """The last lines of ``training.log``, where the family keeps one."""
    text = _text(version, "training.log")
    return text.splitlines()[-MAX_LOG_LINES:] if text else []


def _read(version: ModelVersion | None, name: str) -> JSON | None:
    text = _text(version, name)
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _text(version: ModelVersion | None, name: str) -> str | None:
    if version is None or name not in version.manifest.get("files", {}):
        return None
    try:
        return read_regular_file(version.folder / name, _LARGEST_FILE).decode("utf-8", "replace")
    except MillwrightError:
        return None


def _events(storage: Storage, session_id: int) -> tuple[list[JSON], list[JSON]]:
    """Stages with their beginnings, and the epochs that were announced: at most five a second are."""
    stages: list[JSON] = []
    epochs: list[JSON] = []
    last = read = 0
    while read < _EVENTS_READ:
        page = storage.sessions.events(session_id, last, _PAGE)
        for event in page:
            if event.event == "epoch" and "train_loss" in event.data:
                epochs.append({"epoch": event.data.get("done"), **_numbers(event.data)})
            elif event.event not in ("epoch", "item", "train"):
                stages.append({"stage": event.event, "at": event.created_at.isoformat(timespec="seconds")})
        if len(page) < _PAGE:
            break
        last, read = page[-1].id, read + len(page)
    return stages, epochs[:MAX_EPOCHS]


def _numbers(data: JSON) -> JSON:
    left_out = ("done", "of", "eta_seconds", "progress_pct")
    return {name: value for name, value in data.items() if name not in left_out}


def _versions(storage: Storage, session: Session) -> list[JSON]:
    """One line a version of the model, the newest first, none made after this session."""
    path = f"{session.tenant}/{session.family}/{session.name}"
    found: list[JSON] = []
    for number in reversed(storage.versions.numbers(path)):
        if len(found) == VERSIONS_SHOWN:
            break
        try:
            manifest = storage.versions.get(path, number).manifest
        except MillwrightError:
            continue
        if (manifest.get("session_id") or 0) <= session.id:
            found.append(_line(number, manifest))
    return found


def _line(number: int, manifest: JSON) -> JSON:
    metrics = manifest.get("metrics") or {}
    return {
        "number": number,
        "created_at": manifest.get("created_at"),
        "session_id": manifest.get("session_id"),
        "rows": manifest.get("rows"),
        "headline": metrics.get("headline"),
        "held_out": metrics.get("held_out"),
        "promoted": (manifest.get("verdict") or {}).get("promoted"),
    }
