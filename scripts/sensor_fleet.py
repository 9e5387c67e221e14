"""What the commands that train sensors share: a progress bar, a table of what failed and why, exit codes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import Progress

from prediction.sensors.upkeep import FAMILY, Due
from scripts.terminal import Exit, say, say_json, say_table
from storage.sessions import Session
from training.fleet import most_models
from training_manager import TrainingManager

MOST_SHOWN = 100
_LOOK_S = 0.2


def train(
    manager: TrainingManager, tenant: str, names: Sequence[str], jobs: int | None, quiet: bool
) -> list[Session]:
    """Train these models and follow them to the end: in one session, or in several where it has to be."""
    with Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty()) as bar:
        return [_followed(manager, tenant, some, jobs, bar) for some in _parts(names, most_models())]


def _parts(names: Sequence[str], most: int) -> list[Sequence[str]]:
    return [names[start : start + most] for start in range(0, len(names), most)]


def _followed(
    manager: TrainingManager, tenant: str, names: Sequence[str], jobs: int | None, bar: Progress
) -> Session:
    session = manager.train_fleet(FAMILY, tenant, names, wait=False, jobs=jobs).session
    assert session is not None
    task = bar.add_task(f"{len(names)} models", total=100)
    while not session.has_ended:
        time.sleep(_LOOK_S)
        session = manager.sessions.get(session.id)
        bar.update(task, completed=session.progress_pct or 0)
    return session


def tell(sessions: Sequence[Session], as_json: bool, found: Due | None = None) -> Exit:
    """Say what was trained, and in a table what was not and why; the exit code that stands for it."""
    items = [item for session in sessions for item in session.items]
    failed = [item for item in items if item["state"] == "failed"]
    states = {session.state for session in sessions}
    message = "; ".join(session.message or session.state for session in sessions)
    if as_json:
        state = next((ended for ended in ("completed", "rejected") if ended in states), sessions[0].state)
        told = {"session": sessions[-1].id, "state": state, "message": message}
        due = {} if found is None else {"due": found.models, "lacking": found.lacking}
        say_json({"success": not failed, **told, **due, "items": items})
    else:
        say(message)
        _table("why it was not trained", [(item["name"], item["error"]) for item in failed])
        if found is not None:
            tell_lacking(found)
    return _code(states, items, failed, asked_by_name=found is None)


def _code(states: set[str], items: Sequence[Any], failed: Sequence[Any], *, asked_by_name: bool) -> Exit:
    lacking = [item for item in failed if item.get("code") == "not_enough_data"]
    if not asked_by_name and failed and len(lacking) == len(failed):
        return Exit.NOTHING_TO_DO if len(failed) == len(items) else Exit.DONE
    if not states & {"completed", "rejected"}:
        return Exit.REFUSED if lacking else Exit.FAILED
    if failed or states - {"completed", "rejected"}:
        return Exit.FAILED
    return Exit.DONE if "completed" in states else Exit.NOT_PROMOTED


def tell_lacking(found: Due) -> None:
    """Say which models were left alone for want of data."""
    _table("left alone", list(found.lacking.items()))


def _table(why: str, rows: Sequence[tuple[str, str]]) -> None:
    """Models with a reason each, as many as a person reads."""
    if rows:
        say_table(("model", why), rows[:MOST_SHOWN])
    if len(rows) > MOST_SHOWN:
        say(f"… and {len(rows) - MOST_SHOWN:,} more: --json names all")
