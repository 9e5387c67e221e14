"""``millwright schedule``: train models again when they need it.

A server does ``schedule models`` by itself every ``MILLWRIGHT_MONITORING_INTERVAL_HOURS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import (
    CommandGroup,
    ExitCode,
    JSONFlag,
    TenantOption,
    echo,
    echo_json,
    echo_table,
    local_manager,
    run_repeatedly,
)
from cli.training.batch_progress import report_lacking, report_results, train_batches
from storage.db.scheduler_runs import RetrainDecision
from training.monitoring.retraining_policy import LEAVE, TRAIN, WAIT

if TYPE_CHECKING:
    from training_manager import TrainingManager

app = CommandGroup("Train models again when they need it.")

RunOnceFlag = Annotated[bool, typer.Option("--run-once", help="Run once, then exit.")]


@app.command()
def models(
    *,
    interval: Annotated[int, typer.Option(min=1, help="Seconds from one run to the next.")] = 86_400,
    run_once: RunOnceFlag = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide once, and train nothing.")] = False,
    tenant: Annotated[str | None, typer.Option(help="Whose models; default: everybody's.")] = None,
    as_json: JSONFlag = False,
) -> None:
    """Train models again because of their measured errors, age, new data or input drift."""
    with local_manager() as manager:

        def run() -> ExitCode:
            monitor = manager.monitor
            if dry_run:
                return _report(manager, monitor.plan(tenant), as_json)
            return _report(
                manager, monitor.check(f"command {monitor.clock():%Y-%m-%dT%H:%M:%S.%fZ}", tenant), as_json
            )

        code = run_repeatedly(run, interval, once=run_once or dry_run, as_json=as_json)
    raise typer.Exit(code)


def _report(manager: TrainingManager, decisions: Sequence[RetrainDecision], as_json: bool) -> ExitCode:
    """Write the decisions and the states of their sessions; return the exit code."""
    ids = [decision.session_id for decision in decisions]
    states = [None if number is None else manager.sessions.get(number).state for number in ids]
    rows = list(zip(decisions, states, strict=True))
    if as_json:
        items = [{**asdict(decision), "session_state": state} for decision, state in rows]
        for item in items:
            del item["id"]
        echo_json({"success": "failed" not in states, "decisions": items})
    elif rows:
        cells = [
            (f"{d.tenant}: {d.family}/{d.name}", d.action, state, " ".join(d.reasons)) for d, state in rows
        ]
        echo_table(("model", "action", "session", "why"), cells)
    else:
        echo("There is no promoted model to monitor yet")
    return _exit_code(decisions, states)


def _exit_code(decisions: Sequence[RetrainDecision], states: Sequence[str | None]) -> ExitCode:
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


@app.command()
def sensors(
    *,
    interval: Annotated[int, typer.Option(min=1, help="Seconds from one run to the next.")] = 3600,
    run_once: RunOnceFlag = False,
    tenant: TenantOption = "default",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes at a time; default: one per core.")
    ] = None,
    as_json: JSONFlag = False,
) -> None:
    """Train sensor models that are missing, older than a week or measurably worse."""
    with local_manager() as manager:
        code = run_repeatedly(
            lambda: _train_due_sensors(manager, tenant, jobs, as_json),
            interval,
            once=run_once,
            as_json=as_json,
        )
    raise typer.Exit(code)


def _train_due_sensors(manager: TrainingManager, tenant: str, jobs: int | None, as_json: bool) -> ExitCode:
    from prediction.sensors.monitoring import SensorsMonitor

    monitor = manager.monitor.family_monitor(SensorsMonitor.family, tenant)
    assert isinstance(monitor, SensorsMonitor)
    plan = monitor.plan()
    if plan.models:
        sessions = train_batches(manager, tenant, list(plan.models), jobs, quiet=as_json)
        return report_results(sessions, as_json, plan)
    message = "Every model with enough data is up to date"
    if as_json:
        facts = {"due": {}, "insufficient_data": plan.insufficient_data, "items": []}
        echo_json({"success": True, "message": message, **facts})
    else:
        echo(message)
        report_lacking(plan.insufficient_data)
    return ExitCode.DONE
