"""``millwright import calibrations``: import what people found the true values of sensors to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.http.strict_json import decode_json
from cli.console import DateOrderOption, JSONFlag, SheetOption, TenantOption, echo_result, load_local_settings
from cli.imports.tables import (
    QueryOption,
    SqlOption,
    Table,
    TagColumnOption,
    TimeColumnOption,
    open_tables,
)
from errors import InvalidRecords, MalformedBody
from prediction.records.columns import ColumnNames
from prediction.records.fields import FieldError, RecordFault, is_empty
from prediction.sensors.readings.reading_records import collect_tags, find_unknown_sensors, parse_readings
from storage.container import open_storage
from storage.db.crud import Row
from storage.sensors.calibrations import SOURCE_MANUAL, Calibrations
from storage.sensors.readings import from_microseconds
from storage.sensors.sensors import Sensors
from storage.sensors.tables import CALIBRATION_METHODS

MAX_FAULTS = 100


def import_calibrations(
    files: Annotated[
        list[Path] | None, typer.Argument(exists=True, dir_okay=False, help="CSV, NDJSON, XLSX, Parquet …")
    ] = None,
    *,
    sql: SqlOption = "",
    query: QueryOption = "",
    time_column: TimeColumnOption = None,
    tag_column: TagColumnOption = None,
    value_column: Annotated[str | None, typer.Option(help="The column of the true values.")] = None,
    tenant: TenantOption = "default",
    date_order: DateOrderOption = None,
    sheet: SheetOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Import calibrations (sensor_id, corrected_value, applied_at, method), all of them or none."""
    columns = ColumnNames(time_column or "applied_at", tag_column, value_column or "corrected_value")
    tables = open_tables(files or [], sql, query, date_order, sheet)
    database = open_storage(load_local_settings()).database
    database.migrate()
    sensors = Sensors(database)
    rows = [row for table in tables for row in _read_calibrations(table, columns, sensors, tenant)]
    accepted = len(Calibrations(database).insert(tenant, rows))
    echo_result(as_json, f"Imported {accepted:,} calibrations", accepted=accepted)


def _read_calibrations(table: Table, columns: ColumnNames, sensors: Sensors, tenant: str) -> list[Row]:
    """Return the calibrations of a table as rows.

    Raises
    ------
    InvalidRecords
        One of them is wrong.
    """
    records = list(columns.rename(table.read()))
    # A calibration is read like a reading: a sensor, a time and a value.
    block, lines, faults = parse_readings(records, tags=sensors.find_tags(tenant, collect_tags(records)))
    faults += find_unknown_sensors(block, lines, sensors.get_many(tenant, set(block.sensors.tolist())))
    by_line = dict(records)
    rows: list[Row] = []
    for line, sensor, time, value in zip(
        lines, block.sensors.tolist(), block.times.tolist(), block.values.tolist(), strict=True
    ):
        method = by_line[line].get("method") or CALIBRATION_METHODS[0]
        if method not in CALIBRATION_METHODS:
            faults.append(_describe_method(method, line))
        try:
            params = _parse_params(by_line[line].get("params"))
        except FieldError as error:
            faults.append(error.to_dict(line))
            continue
        rows.append(
            {
                "sensor_id": sensor,
                "method": method,
                "params": params,
                "corrected_value": value,
                "applied_at": from_microseconds(time),
                "source": SOURCE_MANUAL,
            }
        )
    if faults:
        raise InvalidRecords(faults[:MAX_FAULTS], file=table.name, wrong=len(faults))
    return rows


def _parse_params(cell: object) -> dict[str, object]:
    """Return the parameters of a method; in a CSV file, they are the text of a JSON object."""
    if is_empty(cell):
        return {}
    params = cell
    if isinstance(cell, str):
        try:
            params = decode_json(cell)
        except MalformedBody:
            params = None
    if not isinstance(params, dict):
        raise FieldError("params", "type", cell, "params must be a JSON object")
    return params


def _describe_method(method: object, line: int) -> RecordFault:
    message = f"method must be one of {', '.join(CALIBRATION_METHODS)}"
    return FieldError("method", "value", method, message).to_dict(line)
