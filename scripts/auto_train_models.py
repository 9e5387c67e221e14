"""Keep sensor models fresh: train those that are missing, older than a week, or measurably worse.

``python scripts/auto_train_models.py --interval 3600 --run-once``
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
    settings_here,
    told,
)
from cli.training.batch_progress import report_lacking, report_results, train_batches
from prediction.sensors.monitoring import SensorsMonitor
from training_manager import TrainingManager, open_manager

app = application("Train sensor models again when they need it.")


@app.command()
def main(
    interval: Annotated[int, typer.Option(min=1, help="Seconds from one round to the next.")] = 3600,
    run_once: Annotated[bool, typer.Option("--run-once", help="One round, then leave.")] = False,
    tenant: Annotated[str, typer.Option(help="Whose sensors.")] = "default",
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at a time; one a core.")] = None,
    as_json: JSONFlag = False,
) -> None:
    """Look every hour, or once; a round that fails is told and the next one comes."""
    with told(as_json):
        manager = open_manager(settings_here())
        try:
            code = in_rounds(
                lambda: _round(manager, tenant, jobs, as_json),
                interval,
                for_ever=not run_once,
                as_json=as_json,
            )
        finally:
            manager.close()
        leave(code)


def _round(manager: TrainingManager, tenant: str, jobs: int | None, as_json: bool) -> ExitCode:
    """Train what is due; a model that merely lacks data is told and not tried."""
    storage = manager.storage
    found = SensorsMonitor(storage.database, storage.versions, tenant, manager.live.current).due()
    if found.models:
        return report_results(
            train_batches(manager, tenant, list(found.models), jobs, quiet=as_json), as_json, found
        )
    message = "Every model with enough data is fresh"
    if as_json:
        say_json({"success": True, "message": message, "due": {}, "lacking": found.lacking, "items": []})
    else:
        say(message)
        report_lacking(found.lacking)
    return ExitCode.NOTHING_TO_DO


if __name__ == "__main__":
    app()
