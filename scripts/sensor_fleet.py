"""What the commands that train sensors share: a progress bar, a table of what failed and why, exit codes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import Progress

from prediction.sensors.upkeep import FAMILY, Due
from scripts.terminal import Exit, say, say_json, say_table
from storage.sessions import Session
from training_manager import TrainingManager

_LOOK_S = 0.2


def train(
    manager: TrainingManager, tenant: str, names: Sequence[str], jobs: int | None, quiet: bool
) -> Session:
    """Train these models in one session and follow it to its end."""
    session = manager.train_fleet(FAMILY, tenant, names, wait=False, jobs=jobs).session
    assert session is not None
    with Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"{len(names)} models", total=100)
        while not session.has_ended:
            time.sleep(_LOOK_S)
            session = manager.sessions.get(session.id)
            bar.update(task, completed=session.progress_pct or 0)
    return session


def tell(session: Session, as_json: bool, found: Due | None = None) -> Exit:
    """Say what was trained, and in a table what was not and why; the exit code that stands for it."""
    items = session.items
    failed = [item for item in items if item["state"] == "failed"]
    if as_json:
        told = {"session": session.id, "state": session.state, "message": session.message}
        due = {} if found is None else {"due": found.models, "lacking": found.lacking}
        say_json({"success": not failed, **told, **due, "items": items})
    else:
        say(session.message or session.state)
        if failed:
            say_table(("model", "why it was not trained"), [(item["name"], item["error"]) for item in failed])
        if found is not None:
            tell_lacking(found)
    lacking = [item for item in failed if item.get("code") == "not_enough_data"]
    if found is not None and failed and len(lacking) == len(failed):  # nobody asked for these by name
        return Exit.NOTHING_TO_DO if len(failed) == len(items) else Exit.DONE
    if session.state not in ("completed", "rejected"):
        return Exit.REFUSED if lacking else Exit.FAILED
    if failed:
        return Exit.FAILED
    return Exit.DONE if session.state == "completed" else Exit.NOT_PROMOTED


def tell_lacking(found: Due) -> None:
    """Say which models were left alone for want of data."""
    if found.lacking:
        say_table(("model", "left alone"), list(found.lacking.items()))
