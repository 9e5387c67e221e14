"""Cells of tables that come with types (workbooks, Parquet, Arrow, SQL) as records with the types of JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Final

Record = dict[str, object]

# Above, a float has no room for the units digit, so that it names nothing exactly.
_MAX_EXACT: Final = 2**53


def to_record(cells: Iterable[tuple[str, object]]) -> Record:
    """Return the cells of a row as a record, also where they hold lists or objects; empty cells are left out."""
    return {str(name): to_json(cell) for name, cell in cells if not _is_empty(cell)}


def to_json(cell: object) -> object:
    """Return a cell as JSON has it; what JSON has no type for becomes a text."""
    if isinstance(cell, Decimal):
        cell = float(cell)
    if isinstance(cell, float):
        # A workbook has no integers, and a column with empty cells none in pandas: the sensor 13 is stored as 13.0.
        return int(cell) if cell.is_integer() and abs(cell) <= _MAX_EXACT else cell
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    if isinstance(cell, dict):
        return {str(name): None if _is_empty(value) else to_json(value) for name, value in cell.items()}
    if isinstance(cell, list):
        return [None if _is_empty(value) else to_json(value) for value in cell]
    return cell if isinstance(cell, str | int) else str(cell)


def _is_empty(cell: object) -> bool:
    # pandas writes NaN where there is no value.
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))
