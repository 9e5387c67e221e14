"""Import readings from CSV or NDJSON files, however large: ``python cli/imports/readings.py history.csv``.

A file that is half wrong is refused whole with each wrong line named, or with ``--partial`` its right lines
are taken. Sensors, columns and times are those of POST /api/readings/.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from cli.console import ExitCode, JSONFlag, application, leave, say, say_json, settings_here, told
from cli.imports.record_files import read_numbered_records
from errors import InvalidRecords
from prediction.records.fields import RecordFault, placeholder_warnings
from prediction.sensors.readings.reading_records import (
    count_placeholder_records,
    find_unknown_sensors,
    parse_readings,
)
from storage.container import open_storage
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors

app = application("Import readings.")

LINES_AT_ONCE = 50_000
MOST_NAMED = 100


@app.command()
def main(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="CSV or NDJSON files.")],
    tenant: Annotated[str, typer.Option(help="Whose sensors.")] = "default",
    partial: Annotated[bool, typer.Option("--partial", help="Take the right lines of a wrong file.")] = False,
    as_json: JSONFlag = False,
) -> None:
    """Check each file from end to end, then write it in blocks; nothing is detected on old readings."""
    with told(as_json):
        database = open_storage(settings_here()).database
        sensors, readings = Sensors(database), Readings(database)
        accepted, wrong, odd = 0, list[dict[str, Any]](), Counter[tuple[str, float]]()
        for file in files:
            faults = [
                fault for _, found in _blocks(file, sensors, tenant, "checking", as_json) for fault in found
            ]
            if faults and not partial:
                raise InvalidRecords(faults[:MOST_NAMED], file=str(file), wrong=len(faults))
            wrong += [{"file": str(file), **fault} for fault in faults]
            for block, _ in _blocks(file, sensors, tenant, "writing", as_json):
                accepted += readings.ingest(tenant, block)
                odd += count_placeholder_records(block)
        _tell(accepted, wrong, placeholder_warnings(odd), as_json)
        leave(ExitCode.FAILED if wrong else ExitCode.DONE)


def _tell(accepted: int, wrong: list[dict[str, Any]], warnings: list[str], as_json: bool) -> None:
    if as_json:
        told = {"rejected": wrong[:MOST_NAMED], "wrong": len(wrong), "warnings": warnings}
        say_json({"success": not wrong, "accepted": accepted, **told})
        return
    say(f"{accepted:,} readings imported, {len(wrong):,} lines left out")
    for fault in wrong[:MOST_NAMED]:
        say(f"  {fault['file']}: {fault['message']}")
    for warning in warnings:
        say(warning)


def _blocks(
    file: Path, sensors: Sensors, tenant: str, doing: str, quiet: bool
) -> Iterator[tuple[ReadingBlock, list[RecordFault]]]:
    """The right readings of a file, block by block, beside the faults of the same lines."""
    lines = read_numbered_records(file)
    with Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"{doing} {file.name}", total=None)
        while sent := list(islice(lines, LINES_AT_ONCE)):
            block, numbers, faults = parse_readings(sent)
            known = sensors.many(tenant, set(block.sensors.tolist()))
            faults += find_unknown_sensors(block, numbers, known)
            mine = [at for at, sensor in enumerate(block.sensors.tolist()) if sensor in known]
            yield block.part(mine), faults  # type: ignore[arg-type]
            bar.update(task, advance=len(sent))


if __name__ == "__main__":
    app()
