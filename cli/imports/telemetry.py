"""Import telemetry and failures: ``python cli/imports/telemetry.py --format cmapss train_FD001.txt``.

Formats: ``csv`` (tables of rows as POST /api/telemetry takes them), ``cmapss`` (NASA's turbofan files) and
``lookout`` (the folders of Lookout for Equipment). A device that has telemetry of that time is left alone, so
the same import can be repeated.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from cli.console import ExitCode, JSONFlag, application, leave, say, say_json, settings_here, told
from cli.imports.telemetry_files import TelemetryBatch, cmapss_files, csv_files, lookout_folders
from prediction.contract import ModelKey
from prediction.records.fields import placeholder_warnings
from prediction.rul.records import count_event_types, count_placeholder_values
from storage.container import open_storage
from storage.devices.failures import Failures
from storage.devices.telemetry import Telemetry, TelemetryRows

app = application("Import telemetry.")


class FileFormat(StrEnum):
    """How the files are laid out."""

    CSV = "csv"
    CMAPSS = "cmapss"
    LOOKOUT = "lookout"


@app.command()
def main(
    path: Annotated[Path, typer.Argument(exists=True, help="A file, or a folder of files.")],
    *,
    layout: Annotated[
        FileFormat, typer.Option("--format", help="How the files are laid out.")
    ] = FileFormat.CSV,
    tenant: Annotated[str, typer.Option(help="Whose devices.")] = "default",
    failures: Annotated[
        Path | None, typer.Option(exists=True, help="csv: the failures. lookout: the labels, file or folder.")
    ] = None,
    running: Annotated[bool, typer.Option("--running", help="cmapss: the engines have not failed.")] = False,
    as_json: JSONFlag = False,
) -> None:
    """Read device by device and write each in one transaction."""
    with told(as_json):
        tenant = ModelKey("rul", tenant=tenant).tenant
        database = open_storage(settings_here()).database
        database.migrate()
        telemetry, events = Telemetry(database), Failures(database)
        warnings, odd = list[str](), Counter[tuple[str, float]]()
        counts = {"devices": 0, "rows": 0, "failures": 0, "left_alone": 0}
        for delivery in _deliveries(layout, path, failures, tenant, running):
            if layout is not FileFormat.CSV and _known(telemetry, tenant, delivery.samples):
                counts["left_alone"] += 1
                continue
            counts["devices"] += len(set(delivery.samples.devices))
            counts["rows"] += telemetry.ingest(tenant, delivery.samples)
            counts["failures"] += events.ingest(tenant, delivery.events)
            warnings += count_event_types(delivery.events)[1]
            odd += count_placeholder_values(delivery.samples)
        _tell(counts, [*placeholder_warnings(odd), *warnings], as_json)
        leave(ExitCode.DONE if counts["rows"] + counts["failures"] else ExitCode.NOTHING_TO_DO)


def _deliveries(
    layout: FileFormat, path: Path, failures: Path | None, tenant: str, running: bool
) -> Iterator[TelemetryBatch]:
    if layout is FileFormat.CMAPSS:
        return cmapss_files(path, running)
    if layout is FileFormat.LOOKOUT:
        return lookout_folders(path, failures)
    return csv_files(path, failures, tenant)


def _known(telemetry: Telemetry, tenant: str, samples: TelemetryRows) -> bool:
    """Whether the device already has telemetry of this time."""
    if not len(samples):
        return True
    span = telemetry.span(tenant, samples.devices[0])
    return span is not None and span[0] <= samples.times[-1] and span[1] >= samples.times[0]


def _tell(counts: dict[str, int], warnings: list[str], as_json: bool) -> None:
    if as_json:
        say_json({"success": True, **counts, "warnings": warnings})
    else:
        say(
            f"{counts['rows']:,} rows of {counts['devices']:,} devices and {counts['failures']:,} failures "
            f"imported, {counts['left_alone']:,} devices left alone"
        )
        for warning in warnings:
            say(warning)


if __name__ == "__main__":
    app()
