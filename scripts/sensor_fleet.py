"""What the commands that train sensors share: a progress bar, a table of what failed and why, exit codes."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import Progress

from prediction.sensors.upkeep import FAMILY
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


def tell(session: Session, as_json: bool, reasons: Mapping[str, str] | None = None) -> Exit:
    """Say what was trained, and in a table what was not and why; the exit code that stands for it."""
    items = session.items
    failed = [item for item in items if item["state"] == "failed"]
    if as_json:
        told = {"session": session.id, "state": session.state, "message": session.message}
        say_json({"success": not failed, **told, "due": dict(reasons or {}), "items": items})
    else:
        say(session.message or session.state)
        if failed:
            say_table(("model", "why it was not trained"), [(item["name"], item["error"]) for item in failed])
    lacking = [item for item in failed if item.get("code") == "not_enough_data"]
    if reasons is not None and failed and len(lacking) == len(failed):  # nobody asked for these by name
        return Exit.NOTHING_TO_DO if len(failed) == len(items) else Exit.DONE
    if session.state not in ("completed", "rejected"):
        return Exit.REFUSED if lacking else Exit.FAILED
    if failed:
        return Exit.FAILED
    return Exit.DONE if session.state == "completed" else Exit.NOT_PROMOTED
