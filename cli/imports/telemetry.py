"""``millwright import telemetry``: import telemetry and failures of devices.

Formats: ``csv`` (tables of rows as POST /api/telemetry takes them, also as Excel or Parquet), ``cmapss``
(NASA's turbofan files) and ``lookout`` (the folders of Lookout for Equipment). With the last two, a device that
has telemetry of the same time is skipped, so that an import can be repeated.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.console import (
    DateOrderOption,
    ExitCode,
    JSONFlag,
    TenantOption,
    echo,
    echo_result,
    load_local_settings,
)
from cli.imports.telemetry_files import read_cmapss, read_lookout, read_tables
from prediction.contract import ModelKey
from prediction.records.fields import placeholder_warnings
from prediction.telemetry.records import count_event_types, count_placeholder_values
from storage.container import open_storage
from storage.devices.failures import Failures
from storage.devices.telemetry import Telemetry, TelemetryRows


class FileFormat(StrEnum):
    """The layout of the files."""

    CSV = "csv"
    CMAPSS = "cmapss"
    LOOKOUT = "lookout"


def import_telemetry(
    path: Annotated[Path, typer.Argument(exists=True, help="A file, or a folder of files.")],
    *,
    file_format: Annotated[
        FileFormat, typer.Option("--format", help="Layout of the files.")
    ] = FileFormat.CSV,
    tenant: TenantOption = "default",
    failures: Annotated[
        Path | None, typer.Option(exists=True, help="csv: the failures. lookout: the labels, file or folder.")
    ] = None,
    censored: Annotated[
        bool, typer.Option("--censored", help="cmapss: the engines have not failed.")
    ] = False,
    date_order: DateOrderOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Import telemetry and failures, each device in one transaction."""
    tenant = ModelKey("rul", tenant=tenant).tenant  # raises where no tenant can have this name
    database = open_storage(load_local_settings()).database
    database.migrate()
    telemetry, events = Telemetry(database), Failures(database)
    if file_format is FileFormat.CMAPSS:
        batches = read_cmapss(path, censored)
    elif file_format is FileFormat.LOOKOUT:
        batches = read_lookout(path, failures)
    else:
        batches = read_tables(path, failures, tenant, date_order)
    warnings, odd_values = list[str](), Counter[tuple[str, float]]()
    counts = {"devices": 0, "rows": 0, "failures": 0, "skipped_devices": 0}
    for batch in batches:
        if file_format is not FileFormat.CSV and _is_stored(telemetry, tenant, batch.rows):
            counts["skipped_devices"] += 1
            continue
        counts["devices"] += len(set(batch.rows.devices))
        counts["rows"] += telemetry.ingest(tenant, batch.rows)
        counts["failures"] += events.ingest(tenant, batch.events)
        warnings += count_event_types(batch.events)[1]
        odd_values += count_placeholder_values(batch.rows)
    warnings = [*placeholder_warnings(odd_values), *warnings]
    message = (
        f"Imported {counts['rows']:,} rows of {counts['devices']:,} devices and {counts['failures']:,} failures, "
        f"skipped {counts['skipped_devices']:,} devices"
    )
    echo_result(as_json, message, **counts, warnings=warnings)
    for warning in () if as_json else warnings:
        echo(warning)
    raise typer.Exit(ExitCode.DONE if counts["rows"] + counts["failures"] else ExitCode.NOTHING_TO_DO)


def _is_stored(telemetry: Telemetry, tenant: str, rows: TelemetryRows) -> bool:
    """Return whether the device already has telemetry of this time."""
    if not len(rows):
        return True
    span = telemetry.span(tenant, rows.devices[0])
    return span is not None and span[0] <= rows.times[-1] and span[1] >= rows.times[0]
