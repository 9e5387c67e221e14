"""``millwright import readings``: import files of sensor readings of any size.

Sensors, columns and times are those of POST /api/readings/.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from cli.console import (
    DateOrderOption,
    ExitCode,
    JSONFlag,
    SheetOption,
    SkipInvalidFlag,
    TenantOption,
    echo,
    echo_json,
    load_local_settings,
)
from cli.imports.tables import (
    QueryOption,
    SqlOption,
    Table,
    TagColumnOption,
    TimeColumnOption,
    ValueColumnOption,
    open_tables,
)
from cli.imports.temporary_blocks import TemporaryBlocks
from errors import InvalidRecords
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
from storage.sensors.repeated_readings import drop_repeated
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
    value_column: ValueColumnOption = None,
    wide: Annotated[bool, typer.Option("--wide", help="Each column but the time is a tag.")] = False,
    tenant: TenantOption = "default",
    skip_invalid: SkipInvalidFlag = False,
    date_order: DateOrderOption = None,
    sheet: SheetOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Import readings: each file, or what a query returns, is checked as a whole, then written in blocks.

    A file with invalid lines is refused, and each of them is named. Anomalies are not detected in old readings.
    """
    database = open_storage(load_local_settings()).database
    sensors, readings = Sensors(database), Readings(database)
    accepted, repeated, warnings = 0, 0, list[str]()
    all_faults, odd_values = list[FileFault](), Counter[tuple[str, float]]()
    columns = ColumnNames(time_column, tag_column, value_column, is_wide=wide)
    for table in open_tables(files or [], sql, query, date_order, sheet):
        # A second pass over the table would cost a second run of the query, and might return other rows. A reading
        # takes 24 bytes of the file.
        with TemporaryBlocks() as checked:
            faults = _check_table(table, columns, sensors, tenant, target=checked, quiet=as_json)
            if faults and not skip_invalid:
                raise InvalidRecords(faults[:MAX_FAULTS], file=table.name, wrong=len(faults))
            all_faults += [{"file": table.name, **fault} for fault in faults]
            for block in _load_blocks(checked, f"writing {Path(table.name).name}", as_json):
                distinct = drop_repeated(block)
                accepted += readings.ingest(tenant, distinct.block)
                repeated += distinct.repeated
                warnings += distinct.warnings
                odd_values += count_placeholder_records(block)
    _report(accepted, repeated, all_faults, [*warnings, *placeholder_warnings(odd_values)], as_json=as_json)
    if all_faults:
        raise typer.Exit(ExitCode.FAILED)
    raise typer.Exit(ExitCode.DONE if accepted else ExitCode.NOTHING_TO_DO)


def _check_table(
    table: Table, columns: ColumnNames, sensors: Sensors, tenant: str, *, target: TemporaryBlocks, quiet: bool
) -> list[RecordFault]:
    """Write the valid readings of a table to a file, block by block; return the faults of the other lines."""
    faults: list[RecordFault] = []
    lines = columns.rename(table.read())
    with _progress_bar(f"checking {Path(table.name).name}", quiet) as (bar, task):
        while batch := list(islice(lines, BATCH_SIZE)):
            tags = sensors.find_tags(tenant, collect_tags(batch))
            block, numbers, block_faults = parse_readings(batch, tags=tags)
            known = sensors.get_many(tenant, set(block.sensors.tolist()))
            faults += [*block_faults, *find_unknown_sensors(block, numbers, known)]
            block = block.select(np.isin(block.sensors, list(known)))
            target.append(b"".join(column.tobytes() for column in (block.sensors, block.times, block.values)))
            bar.update(task, advance=len(batch))
    return faults


def _load_blocks(blocks: TemporaryBlocks, action: str, quiet: bool) -> Iterator[ReadingBlock]:
    """Yield the readings that `_check_table` has written to a file."""
    with _progress_bar(action, quiet) as (bar, task):
        for data in blocks:
            sensors, times, values = np.frombuffer(data, np.int64).reshape(3, -1)
            block = ReadingBlock(sensors, times, values.view(np.float64))
            yield block
            bar.update(task, advance=len(block))


@contextmanager
def _progress_bar(action: str, quiet: bool) -> Iterator[tuple[Progress, TaskID]]:
    with Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty()) as bar:
        yield bar, bar.add_task(action, total=None)


def _report(
    accepted: int, repeated: int, faults: list[FileFault], warnings: list[str], *, as_json: bool
) -> None:
    if as_json:
        facts = {"rejected": faults[:MAX_FAULTS], "wrong": len(faults), "warnings": warnings}
        echo_json({"success": not faults, "accepted": accepted, "repeated": repeated, **facts})
        return
    echo(f"{accepted:,} readings imported, {repeated:,} repeated ones and {len(faults):,} lines left out")
    for fault in faults[:MAX_FAULTS]:
        echo(f"  {fault['file']}: {fault['message']}")
    for warning in warnings:
        echo(warning)
