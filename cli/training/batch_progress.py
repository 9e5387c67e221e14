"""What the commands that train sensors share: a progress bar, a table of what failed and why, exit codes."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import Progress

from cli.console import ExitCode, say, say_json, say_table
from prediction.sensors.monitoring import FAMILY, RetrainPlan
from storage.db.sessions import Session
from training_manager import TrainingManager, max_batch_models

MOST_SHOWN = 100
_LOOK_S = 0.2


def train_batches(
    manager: TrainingManager, tenant: str, names: Sequence[str], jobs: int | None, quiet: bool
) -> list[Session]:
    """Train these models and follow them to the end: in one session, or in several where it has to be."""
    with Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty()) as bar:
        return [_followed(manager, tenant, some, jobs, bar) for some in _parts(names, max_batch_models())]


def _parts(names: Sequence[str], most: int) -> list[Sequence[str]]:
    return [names[start : start + most] for start in range(0, len(names), most)]


def _followed(
    manager: TrainingManager, tenant: str, names: Sequence[str], jobs: int | None, bar: Progress
) -> Session:
    session = manager.train_batch(FAMILY, tenant, names, wait=False, jobs=jobs).session
    assert session is not None
    task = bar.add_task(f"{len(names)} models", total=100)
    while not session.has_ended:
        time.sleep(_LOOK_S)
        session = manager.sessions.get(session.id)
        bar.update(task, completed=session.progress_pct or 0)
    return session


def report_results(sessions: Sequence[Session], as_json: bool, found: RetrainPlan | None = None) -> ExitCode:
    """Say what was trained, what was not and why; the exit code that stands for it.

    A model that merely lacks data is no failure, unless nothing else was asked for.
    """
    items = [item for session in sessions for item in session.items]
    failed = [item for item in items if item["state"] == "failed" and not _lacks_data(item)]
    lacking = {item["name"]: item["error"] for item in items if _lacks_data(item)}
    code = _code(sessions, failed, asked_by_name=found is None)
    message = "; ".join(session.message or session.state for session in sessions)
    if as_json:
        states = {session.state for session in sessions}
        state = next((ended for ended in ("completed", "rejected") if ended in states), sessions[0].state)
        told = {"session": sessions[-1].id, "state": state, "message": message}
        due = {} if found is None else {"due": found.models, "lacking": found.lacking}
        success = code not in (ExitCode.FAILED, ExitCode.REFUSED)
        say_json({"success": success, **told, **due, "items": items})
    else:
        say(message)
        _table("why it was not trained", [(item["name"], item["error"]) for item in failed])
        report_lacking(lacking if found is None else {**lacking, **found.lacking})
    return code


def _lacks_data(item: Mapping[str, Any]) -> bool:
    return item["state"] == "failed" and item.get("code") == "not_enough_data"


def _code(sessions: Sequence[Session], failed: Sequence[Any], *, asked_by_name: bool) -> ExitCode:
    """The exit code, by the sessions in which any model had data enough."""
    fed = [session for session in sessions if not session.items or not all(map(_lacks_data, session.items))]
    if not fed:
        return ExitCode.REFUSED if asked_by_name else ExitCode.NOTHING_TO_DO
    states = {session.state for session in fed}
    if failed or not states <= {"completed", "rejected"}:
        return ExitCode.FAILED
    return ExitCode.DONE if "completed" in states else ExitCode.NOT_PROMOTED


def report_lacking(lacking: Mapping[str, str]) -> None:
    """Say in a line how many models were left alone for want of data, and of which kind; a few by name."""
    if not lacking:
        return
    kinds = Counter(name.partition("-")[2] for name in lacking)
    counted = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    name, reason = next(iter(lacking.items()))
    say(f"Left alone for want of data: {counted} (such as {name}: {reason}); --json names all")


def _table(why: str, rows: Sequence[tuple[str, str]]) -> None:
    """Models with a reason each, as many as a person reads."""
    if rows:
        say_table(("model", why), rows[:MOST_SHOWN])
    if len(rows) > MOST_SHOWN:
        say(f"… and {len(rows) - MOST_SHOWN:,} more: --json names all")
