"""``millwright import readings``: import files of sensor readings of any size.

Sensors, columns and times are those of POST /api/readings/.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from cli.console import (
    DateOrderOption,
    ExitCode,
    JSONFlag,
    SkipInvalidFlag,
    TenantOption,
    echo,
    echo_json,
    load_local_settings,
)
from cli.imports.tables import QueryOption, SqlOption, TagColumnOption, TimeColumnOption, open_tables
from errors import InvalidRecords
from prediction.records import NumberedRecord
from prediction.records.columns import ColumnNames
from prediction.records.fields import RecordFault, placeholder_warnings
from prediction.sensors.readings.reading_records import (
    collect_tags,
    count_placeholder_records,
    find_unknown_sensors,
    parse_readings,
)
from storage.container import open_storage
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors

BATCH_SIZE = 50_000
MAX_FAULTS = 100


class FileFault(RecordFault):
    """A fault with the file that has it."""

    file: str


def import_readings(
    files: Annotated[
        list[Path] | None, typer.Argument(exists=True, dir_okay=False, help="CSV, NDJSON, XLSX, Parquet …")
    ] = None,
    *,
    sql: SqlOption = "",
    query: QueryOption = "",
    time_column: TimeColumnOption = None,
    tag_column: TagColumnOption = None,
    value_column: Annotated[str | None, typer.Option(help="The column of the values.")] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Each column but the time is a tag.")] = False,
    tenant: TenantOption = "default",
    skip_invalid: SkipInvalidFlag = False,
    date_order: DateOrderOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Import readings: each file, or what a query returns, is checked as a whole, then written in blocks.

    A file with invalid lines is refused, and each of them is named. Anomalies are not detected in old readings.
    """
    database = open_storage(load_local_settings()).database
    sensors, readings = Sensors(database), Readings(database)
    accepted, all_faults, odd_values = 0, list[FileFault](), Counter[tuple[str, float]]()
    columns = ColumnNames(time_column, tag_column, value_column, wide)
    for table in open_tables(files or [], sql, query, date_order):
        name = Path(table.name).name
        lines = columns.rename(table.read(False))
        blocks = _read_blocks(lines, sensors, tenant, f"checking {name}", as_json)
        faults = [fault for _, block_faults in blocks for fault in block_faults]
        if faults and not skip_invalid:
            raise InvalidRecords(faults[:MAX_FAULTS], file=table.name, wrong=len(faults))
        all_faults += [{"file": table.name, **fault} for fault in faults]
        lines = columns.rename(table.read(True))
        for block, _ in _read_blocks(lines, sensors, tenant, f"writing {name}", as_json):
            accepted += readings.ingest(tenant, block)
            odd_values += count_placeholder_records(block)
    _report(accepted, all_faults, placeholder_warnings(odd_values), as_json)
    raise typer.Exit(ExitCode.FAILED if all_faults else ExitCode.DONE)


def _read_blocks(
    lines: Iterator[NumberedRecord], sensors: Sensors, tenant: str, action: str, quiet: bool
) -> Iterator[tuple[ReadingBlock, list[RecordFault]]]:
    """Yield the valid readings of a file block by block, with the faults of the same lines."""
    with Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty()) as bar:
        task = bar.add_task(action, total=None)
        while batch := list(islice(lines, BATCH_SIZE)):
            tags = sensors.find_tags(tenant, collect_tags(batch))
            block, numbers, faults = parse_readings(batch, tags=tags)
            known = sensors.get_many(tenant, set(block.sensors.tolist()))
            faults += find_unknown_sensors(block, numbers, known)
            rows = [row for row, sensor in enumerate(block.sensors.tolist()) if sensor in known]
            yield block.select(rows), faults  # type: ignore[arg-type]
            bar.update(task, advance=len(batch))


def _report(accepted: int, faults: list[FileFault], warnings: list[str], as_json: bool) -> None:
    if as_json:
        facts = {"rejected": faults[:MAX_FAULTS], "wrong": len(faults), "warnings": warnings}
        echo_json({"success": not faults, "accepted": accepted, **facts})
        return
    echo(f"{accepted:,} readings imported, {len(faults):,} lines left out")
    for fault in faults[:MAX_FAULTS]:
        echo(f"  {fault['file']}: {fault['message']}")
    for warning in warnings:
        echo(warning)
