"""Train the models of one sensor, or of all of them, which is what happens without options.

``python scripts/train_models.py --sensor-id 13 --model-type anomaly``
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cli.console import JSONFlag, application, leave, settings_here, told
from cli.training.batch_progress import report_results, train_batches
from errors import InvalidContent
from prediction.sensors.intake import MODEL_KINDS
from prediction.sensors.monitoring import build_model_names
from storage.sensors.sensors import Sensors
from training_manager import open_manager

app = application("Train anomaly, drift and calibration models of sensors.")


class Kind(StrEnum):
    """Which models of a sensor."""

    ANOMALY = "anomaly"
    DRIFT = "drift"
    CALIBRATION = "calibration"
    ALL = "all"


@app.command()
def main(  # noqa: PLR0917  # typer makes options of them
    sensor_id: Annotated[int | None, typer.Option(help="The sensor.")] = None,
    all_sensors: Annotated[bool, typer.Option("--all-sensors", help="Every sensor of the tenant.")] = False,
    model_type: Annotated[Kind, typer.Option(help="Which models.")] = Kind.ALL,
    tenant: Annotated[str, typer.Option(help="Whose sensors.")] = "default",
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at a time; one a core.")] = None,
    as_json: JSONFlag = False,
) -> None:
    """Train in one session: one backup, one commit, and one sensor's failure stops nobody else."""
    with told(as_json):
        if sensor_id is not None and all_sensors:
            raise InvalidContent("Name either --sensor-id or --all-sensors")
        if sensor_id is None and not all_sensors and model_type is not Kind.ALL:
            raise InvalidContent("Name a --sensor-id or --all-sensors, or train all models of all sensors")
        manager = open_manager(settings_here())
        try:
            sensors = Sensors(manager.storage.database)
            ids = sensors.ids(tenant) if sensor_id is None else [sensors.get(tenant, sensor_id)["id"]]
            if not ids:
                raise InvalidContent("There are no sensors yet")
            names = build_model_names(ids, MODEL_KINDS if model_type is Kind.ALL else (model_type.value,))
            code = report_results(train_batches(manager, tenant, names, jobs, quiet=as_json), as_json)
        finally:
            manager.close()
        leave(code)


if __name__ == "__main__":
    app()
