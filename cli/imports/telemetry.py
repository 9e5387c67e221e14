"""``millwright import telemetry``: import telemetry and failures of devices.

Formats: ``csv`` (tables of rows as POST /api/telemetry takes them, also as Excel or Parquet), ``cmapss``
(NASA's turbofan files) and ``lookout`` (the folders of Lookout for Equipment). With the last two, a device that
has telemetry of the same time is skipped, so that an import can be repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.console import (
    DateOrderOption,
    ExitCode,
    JSONFlag,
    SheetOption,
    TenantOption,
    echo,
    echo_result,
    load_local_settings,
)
from cli.imports.tables import (
    ChannelColumnOption,
    QueryOption,
    SqlOption,
    TagColumnOption,
    TimeColumnOption,
    ValueColumnOption,
    open_tables,
)
from cli.imports.telemetry_files import (
    TelemetryBatch,
    list_tables,
    read_cmapss,
    read_failures,
    read_lookout,
    read_tables,
)
from errors import ConfigurationError
from prediction.contract import ModelKey
from prediction.records.columns import ColumnNames
from prediction.records.fields import placeholder_warnings
from prediction.telemetry.records import count_event_types, count_placeholder_values
from prediction.telemetry.repeated_rows import join_repeated
from storage.container import open_storage
from storage.devices.failures import Failures
from storage.devices.telemetry import Telemetry, TelemetryRows


class FileFormat(StrEnum):
    """The layout of the files."""

    CSV = "csv"
    CMAPSS = "cmapss"
    LOOKOUT = "lookout"


FormatOption = Annotated[FileFormat, typer.Option("--format", help="Layout of the files.")]


def import_telemetry(
    path: Annotated[Path | None, typer.Argument(exists=True, help="A file, or a folder of files.")] = None,
    *,
    sql: SqlOption = "",
    query: QueryOption = "",
    time_column: TimeColumnOption = None,
    tag_column: TagColumnOption = None,
    channel_column: ChannelColumnOption = None,
    value_column: ValueColumnOption = None,
    file_format: FormatOption = FileFormat.CSV,
    tenant: TenantOption = "default",
    failures: Annotated[
        Path | None, typer.Option(exists=True, help="csv: the failures. lookout: the labels, file or folder.")
    ] = None,
    censored: Annotated[
        bool, typer.Option("--censored", help="cmapss: the engines have not failed.")
    ] = False,
    date_order: DateOrderOption = None,
    sheet: SheetOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Import telemetry and failures. Tables are checked as a whole first; of C-MAPSS and Lookout, each device."""
    tenant = ModelKey("rul", tenant=tenant).tenant  # raises where no tenant can have this name
    database = open_storage(load_local_settings()).database
    database.migrate()
    if file_format is FileFormat.CSV:
        files = [] if path is None else [file for file in list_tables(path) if file != failures]
        tables = open_tables(files, sql, query, date_order, sheet)
        (failure_table,) = open_tables([failures], "", "", date_order) if failures else (None,)
        columns = ColumnNames(time_column, tag_column, value_column, channel_column)
        batches = read_tables(tables, failure_table, tenant, columns)
    elif path is None or any((sql, query, time_column, tag_column, channel_column, value_column)):
        raise ConfigurationError("Give the files; queries and names of columns are for --format csv")
    elif file_format is FileFormat.CMAPSS:
        batches = read_cmapss(path, censored)
    else:
        batches = read_lookout(path, failures)
    counts, warnings = _store_batches(
        batches,
        tenant,
        Telemetry(database),
        Failures(database),
        skip_stored=file_format is not FileFormat.CSV,
    )
    message = (
        f"Imported {counts['rows']:,} rows of {counts['devices']:,} devices and {counts['failures']:,} failures, "
        f"skipped {counts['skipped_devices']:,} devices, joined {counts['repeated']:,} repeated rows"
    )
    _report(as_json, message, counts, warnings)
    raise typer.Exit(ExitCode.DONE if counts["rows"] + counts["failures"] else ExitCode.NOTHING_TO_DO)


def _store_batches(
    batches: Iterable[TelemetryBatch],
    tenant: str,
    telemetry: Telemetry,
    events: Failures,
    *,
    skip_stored: bool,
) -> tuple[dict[str, int], list[str]]:
    """Store batches; return the counts and the warnings.

    Parameters
    ----------
    skip_stored : bool
        Skip devices that have telemetry of the same time.
    """
    warnings, odd_values = list[str](), Counter[tuple[str, float]]()
    counts = {"devices": 0, "rows": 0, "failures": 0, "skipped_devices": 0, "repeated": 0}
    devices = set[str]()
    for batch in batches:
        if skip_stored and _is_stored(telemetry, tenant, batch.rows):
            counts["skipped_devices"] += 1
            continue
        devices.update(batch.rows.devices)
        joined = join_repeated(batch.rows)
        counts["rows"] += telemetry.ingest(tenant, joined.rows)
        counts["repeated"] += joined.repeated
        counts["failures"] += events.ingest(tenant, batch.events)
        warnings += [*batch.warnings, *joined.warnings, *count_event_types(batch.events)[1]]
        odd_values += count_placeholder_values(joined.rows)
    counts["devices"] = len(devices)
    return counts, [*placeholder_warnings(odd_values), *warnings]


def import_failures(
    files: Annotated[
        list[Path] | None, typer.Argument(exists=True, dir_okay=False, help="CSV, NDJSON, XLSX, Parquet …")
    ] = None,
    *,
    sql: SqlOption = "",
    query: QueryOption = "",
    time_column: TimeColumnOption = None,
    tag_column: TagColumnOption = None,
    tenant: TenantOption = "default",
    date_order: DateOrderOption = None,
    sheet: SheetOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Import failure events of devices, all of them or none."""
    tenant = ModelKey("rul", tenant=tenant).tenant
    columns = ColumnNames(time_column, tag_column)
    tables = open_tables(files or [], sql, query, date_order, sheet)
    events = [event for table in tables for event in read_failures(table, tenant, columns)]
    database = open_storage(load_local_settings()).database
    database.migrate()
    accepted = Failures(database).ingest(tenant, events)
    counts, warnings = count_event_types(events)
    _report(as_json, f"Imported {accepted:,} events", {"accepted": accepted, **counts}, warnings)


def _report(as_json: bool, message: str, counts: Mapping[str, int], warnings: Sequence[str]) -> None:
    echo_result(as_json, message, **counts, warnings=warnings)
    for warning in () if as_json else warnings:
        echo(warning)


def _is_stored(telemetry: Telemetry, tenant: str, rows: TelemetryRows) -> bool:
    """Return whether the device already has telemetry of this time."""
    if not len(rows):
        return True
    span = telemetry.span(tenant, rows.devices[0])
    return span is not None and span[0] <= rows.times[-1] and span[1] >= rows.times[0]
