"""Collect what is stored about one session as plain JSON.

What happened after the session is left out. The same session therefore always gives the same facts, and the
same facts give the same document: the report cache relies on it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import cast

from errors import MillwrightError
from reports.facts.session_facts import Epoch, ReportFacts, SessionRow, Stage, TrainingHistory, VersionLine
from storage.container import Storage
from storage.db.sessions import Session
from storage.filesystem.files import read_regular_file
from storage.models.versions import ModelVersion
from storage.sensors.sensors import Sensors

# Increase it when a report looks different: cached reports of an older format are then built again.
FORMAT = 7
MAX_VERSIONS = 10
MAX_EPOCHS = 5_000
MAX_LOG_LINES = 400
MAX_FILE_BYTES = 16 << 20
MAX_EVENTS = 20_000
_PAGE_SIZE = 1_000


def collect_facts(storage: Storage, session: Session) -> ReportFacts:
    """Return everything that a report says about an ended session."""
    version = _version_of(storage, session)
    manifest = version.manifest.copy() if version else None
    files = manifest.pop("files", {}) if manifest else {}
    stages, epochs = _read_events(storage, session.id)
    log = _read_text(version, "training.log")
    return {
        "format": FORMAT,
        "session": _describe_session(storage, session),
        "manifest": manifest,
        "files": [{"name": name, "bytes": file["size"]} for name, file in sorted(files.items())],
        "history": _read_history(version) or {"epochs": epochs, "best_epoch": None, "stopped": None},
        "versions": _previous_versions(storage, session),
        "stages": stages,
        "log": log.splitlines()[-MAX_LOG_LINES:] if log else [],
    }


def _describe_session(storage: Storage, session: Session) -> SessionRow:
    """Return the session's row, with the sensor's name beside each model of a batch: people do not know numbers."""
    fields = {
        name: value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
        for name, value in asdict(session).items()
    }
    row = cast("SessionRow", {**fields, "model": f"{session.family}/{session.name}"})
    items = row["details"].get("items") or []
    numbers = {item["name"]: str(item["name"]).partition("-")[0] for item in items}
    ids = {int(number) for number in numbers.values() if number.isdigit()}
    if session.family == "sensors" and ids:
        names = {
            str(key): sensor["name"]
            for key, sensor in Sensors(storage.database).get_many(session.tenant, ids).items()
        }
        labelled = [
            {**item, "label": f"{item['name']} ({names[number]})"}
            if (number := numbers[item["name"]]) in names
            else item
            for item in items
        ]
        row["details"] = {**row["details"], "items": labelled}
    return row


def _version_of(storage: Storage, session: Session) -> ModelVersion | None:
    """Return the version that the session made; None where it made none, or where it was deleted."""
    if session.version is None:
        return None
    try:
        version = storage.versions.get(_model_path(session), session.version)
    except MillwrightError:
        return None
    # An undo can free the number, and another session may have used it since.
    return version if version.manifest.get("session_id") == session.id else None


def _model_path(session: Session) -> str:
    return f"{session.tenant}/{session.family}/{session.name}"


def _read_history(version: ModelVersion | None) -> TrainingHistory | None:
    text = _read_text(version, "training_history.json")
    try:
        history = json.loads(text) if text else None
    except ValueError:
        return None
    if not isinstance(history, dict) or not history.get("epochs"):
        return None
    epochs = history["epochs"][:MAX_EPOCHS]
    return {"epochs": epochs, "best_epoch": history.get("best_epoch"), "stopped": history.get("stopped")}


def _read_text(version: ModelVersion | None, name: str) -> str | None:
    if version is None or name not in version.manifest["files"]:
        return None
    try:
        return read_regular_file(version.folder / name, MAX_FILE_BYTES).decode("utf-8", "replace")
    except MillwrightError:
        return None


def _read_events(storage: Storage, session_id: int) -> tuple[list[Stage], list[Epoch]]:
    """Return the stages and the announced epochs; sessions announce at most five epochs per second."""
    stages: list[Stage] = []
    epochs: list[Epoch] = []
    last = read = 0
    while read < MAX_EVENTS:
        page = storage.session_events.list(session_id, last, _PAGE_SIZE)
        for event in page:
            if event.event == "epoch" and "train_loss" in event.data:
                progress = ("done", "of", "eta_seconds", "progress_pct")
                metrics = {name: value for name, value in event.data.items() if name not in progress}
                epochs.append({"epoch": event.data.get("done"), **metrics})
            elif event.event not in ("epoch", "refit_epoch", "item", "train"):
                stages.append({"stage": event.event, "at": event.created_at.isoformat(timespec="seconds")})
        if len(page) < _PAGE_SIZE:
            break
        last, read = page[-1].id, read + len(page)
    return stages, epochs[:MAX_EPOCHS]


def _previous_versions(storage: Storage, session: Session) -> list[VersionLine]:
    """Return a line per version of the model, newest first, none of them made after this session."""
    lines: list[VersionLine] = []
    for number in reversed(storage.versions.numbers(_model_path(session))):
        if len(lines) == MAX_VERSIONS:
            break
        try:
            manifest = storage.versions.get(_model_path(session), number).manifest
        except MillwrightError:
            continue
        if (manifest.get("session_id") or 0) <= session.id:
            metrics, verdict = manifest.get("metrics"), manifest.get("verdict")
            lines.append(
                {
                    "number": number,
                    "created_at": manifest.get("created_at"),
                    "session_id": manifest.get("session_id"),
                    "rows": manifest.get("rows"),
                    "headline": metrics["headline"] if metrics else None,
                    "held_out": metrics["held_out"] if metrics else None,
                    "promoted": verdict["promoted"] if verdict else None,
                }
            )
    return lines
