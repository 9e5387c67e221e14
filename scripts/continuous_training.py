"""Look at the serving models and train those that need it, with reasons.

``python scripts/continuous_training.py --run-once``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cli.console import (
    ExitCode,
    JSONFlag,
    application,
    in_rounds,
    leave,
    say,
    say_json,
    say_table,
    settings_here,
    told,
)
from storage.db.scheduler_runs import RetrainDecision
from training.monitoring.retraining_policy import LEAVE, TRAIN, WAIT
from training_manager import TrainingManager, open_manager

app = application("Train models again whose performance, age or data ask for it.")


@app.command()
def main(
    interval: Annotated[int, typer.Option(min=1, help="Seconds from one look to the next.")] = 86_400,
    run_once: Annotated[bool, typer.Option("--run-once", help="One look, then leave.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide, and do nothing.")] = False,
    tenant: Annotated[str | None, typer.Option(help="Whose models; everybody's unless said.")] = None,
    as_json: JSONFlag = False,
) -> None:
    """Look every day, or once. A server does this by itself, unless MILLWRIGHT_MONITORING_INTERVAL_HOURS is 0."""
    with told(as_json):
        manager = open_manager(settings_here())
        try:
            code = in_rounds(
                lambda: _told(manager, _looked(manager, tenant, dry_run), as_json),
                interval,
                for_ever=not (run_once or dry_run),
                as_json=as_json,
            )
        finally:
            manager.close()
        leave(code)


def _looked(manager: TrainingManager, tenant: str | None, dry_run: bool) -> list[RetrainDecision]:
    watch = manager.watch
    return (
        watch.due(tenant) if dry_run else watch.look(f"command {watch.clock():%Y-%m-%dT%H:%M:%S.%fZ}", tenant)
    )


def _told(manager: TrainingManager, decisions: list[RetrainDecision], as_json: bool) -> ExitCode:
    """Say what was decided and what came of it; the exit code that stands for it."""
    states = [_state(manager, decision) for decision in decisions]
    if as_json:
        items = [_item(one, state) for one, state in zip(decisions, states, strict=True)]
        say_json({"success": "failed" not in states, "decisions": items})
    elif decisions:
        rows = [
            (f"{one.tenant}: {one.family}/{one.name}", one.action, state, " ".join(one.reasons))
            for one, state in zip(decisions, states, strict=True)
        ]
        say_table(("model", "action", "session", "why"), rows)
    else:
        say("No model answers yet that is looked after")
    return _code(decisions, states)


def _state(manager: TrainingManager, decision: RetrainDecision) -> str | None:
    """How the session that a decision started has ended."""
    return None if decision.session_id is None else manager.sessions.get(decision.session_id).state


def _item(decision: RetrainDecision, state: str | None) -> dict[str, object]:
    facts = {name: value for name, value in vars(decision).items() if name != "id"}
    return {**facts, "session_state": state}


def _code(decisions: list[RetrainDecision], states: list[str | None]) -> ExitCode:
    actions = {decision.action for decision in decisions}
    if {"failed", "interrupted", "cancelled"} & {*states}:
        return ExitCode.FAILED
    if "completed" in states:
        return ExitCode.DONE
    if "rejected" in states:
        return ExitCode.NOT_PROMOTED
    if TRAIN in actions:  # a dry run
        return ExitCode.DONE
    return ExitCode.BUSY if WAIT in actions and LEAVE not in actions else ExitCode.NOTHING_TO_DO


if __name__ == "__main__":
    app()
