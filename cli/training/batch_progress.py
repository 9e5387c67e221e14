"""Train many sensor models and report the result: a progress bar, a table of failures, an exit code."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from cli.console import ExitCode, echo, echo_json, echo_table
from prediction.sensors.model_names import FAMILY
from prediction.sensors.monitoring import RetrainPlan
from storage.db.sessions import Session
from training.context import MAX_BATCH_MODELS

if TYPE_CHECKING:
    from training_manager import TrainingManager

MAX_ROWS = 100
_POLL_SECONDS = 0.2


def train_batches(
    manager: TrainingManager, tenant: str, names: Sequence[str], jobs: int | None, quiet: bool
) -> list[Session]:
    """Train models and wait for the end: in one session, or in several where there are too many for one."""
    size = MAX_BATCH_MODELS
    batches = [names[start : start + size] for start in range(0, len(names), size)]
    sessions = []
    with Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty()) as bar:
        for batch in batches:
            session = manager.train_batch(FAMILY, tenant, batch, wait=False, jobs=jobs).session
            assert session is not None
            task = bar.add_task(f"{len(batch)} models", total=100)
            while not session.has_ended:
                time.sleep(_POLL_SECONDS)
                session = manager.sessions.get(session.id)
                bar.update(task, completed=session.progress_pct or 0)
            sessions.append(session)
    return sessions


def report_results(sessions: Sequence[Session], as_json: bool, plan: RetrainPlan | None = None) -> ExitCode:
    """Write what was trained, what was not and why; return the exit code.

    A model without enough data is not a failure, unless it was asked for by name and nothing else was.
    """
    items = [item for session in sessions for item in session.items]
    failed = [item for item in items if item["state"] == "failed" and not _lacks_data(item)]
    lacking = {item["name"]: item["error"] for item in items if _lacks_data(item)}
    code = _exit_code(sessions, failed, requested_by_name=plan is None)
    message = "; ".join(session.message or session.state for session in sessions)
    if as_json:
        states = {session.state for session in sessions}
        state = next((ended for ended in ("completed", "rejected") if ended in states), sessions[0].state)
        due = {} if plan is None else {"due": plan.models, "insufficient_data": plan.insufficient_data}
        success = code not in (ExitCode.FAILED, ExitCode.REFUSED)
        summary = {"success": success, "session": sessions[-1].id, "state": state, "message": message}
        echo_json({**summary, **due, "items": items})
        return code
    echo(message)
    if failed:
        rows = [(item["name"], item["error"]) for item in failed]
        echo_table(("model", "why it was not trained"), rows[:MAX_ROWS])
        if len(rows) > MAX_ROWS:
            echo(f"… and {len(rows) - MAX_ROWS:,} more: --json lists all")
    report_lacking(lacking if plan is None else {**lacking, **plan.insufficient_data})
    return code


def _lacks_data(item: Mapping[str, object]) -> bool:
    return item["state"] == "failed" and item.get("code") == "not_enough_data"


def _exit_code(
    sessions: Sequence[Session], failed: Sequence[Mapping[str, object]], *, requested_by_name: bool
) -> ExitCode:
    """Return the exit code by the sessions in which any model had enough data."""
    fed = [session for session in sessions if not session.items or not all(map(_lacks_data, session.items))]
    if not fed:
        return ExitCode.REFUSED if requested_by_name else ExitCode.NOTHING_TO_DO
    states = {session.state for session in fed}
    if failed or not states <= {"completed", "rejected"}:
        return ExitCode.FAILED
    return ExitCode.DONE if "completed" in states else ExitCode.NOT_PROMOTED


def report_lacking(lacking: Mapping[str, str]) -> None:
    """Write in one line how many models of which kind lack data, with one example."""
    if not lacking:
        return
    kinds = Counter(name.partition("-")[2] for name in lacking)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    name, reason = next(iter(lacking.items()))
    echo(f"Not enough data for {counts} (such as {name}: {reason}); --json lists all")
